"""Which CustomResourceDefinitions the API server accepts: one module for each concern, put together in ``validate``."""
