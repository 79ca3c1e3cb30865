"""The process runner: pods as operating system processes, in the place of the kubelet."""
