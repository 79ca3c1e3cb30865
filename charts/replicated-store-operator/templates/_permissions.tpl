{{/*
What the operator may do in a namespace whose stores it runs. Each verb is one that its code calls; a test compares
this list with what the code asks for.
*/}}
{{- define "rstore.permissions" -}}
# The stores themselves: read and watched; patched to remove an annotation that was carried out, and the finalizer of earlier versions.
- apiGroups: [replicatedstore.io]
  resources: [replicatedstores]
  verbs: [get, list, watch, patch]
- apiGroups: [replicatedstore.io]
  resources: [replicatedstores/status]
  verbs: [patch]
# Bases that somebody asks for: their owner is the store unless they are to be retained; read where a new store begins with one.
- apiGroups: [replicatedstore.io]
  resources: [replicatedstorebackups]
  verbs: [get, list, watch, patch]
- apiGroups: [replicatedstore.io]
  resources: [replicatedstorebackups/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion need this where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [replicatedstore.io]
  resources: [replicatedstores/finalizers]
  verbs: [update]
# What a store is made of: written by server-side apply (create and patch), deleted when a region leaves.
- apiGroups: [""]
  resources: [configmaps, secrets, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Replicas are called by gRPC at their pod's address; pods that are out of date are deleted, one after the other.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# Which store's data a volume has is checked before a pod gets it; volumes that the spec wants larger are made larger, and
# those of another StorageClass are replaced.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
# Created about stores; listed to find out why pods of a StatefulSet could not be created.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- end -}}
