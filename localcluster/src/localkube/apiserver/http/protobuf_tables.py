"""Field numbers of the kinds that are accepted in protobuf, after the published ``generated.proto`` files."""

from __future__ import annotations

Message = dict[int, tuple[str, str]]
"""Field number: (JSON name, type).

``?`` after a type keeps zero values, ``*`` repeats, ``%`` is a map keyed by strings; ``skip`` ignores the field (a
status, which a client cannot write). A field that is not listed is refused, so that nothing sent is ever lost.
"""

# Kinds of bodies have a star in front, other messages are parts of them. An indented line continues the one before.
_TABLE = """
ObjectMeta: 1 name string, 2 generateName string, 3 namespace string, 4 skip, 5 uid string, 6 resourceVersion string,
  7 generation int, 8 creationTimestamp Time, 9 deletionTimestamp Time, 10 deletionGracePeriodSeconds int?,
  11 labels string%, 12 annotations string%, 13 ownerReferences OwnerReference*, 14 finalizers string*,
  17 managedFields ManagedFieldsEntry*
OwnerReference: 1 kind string, 3 name string, 4 uid string, 5 apiVersion string, 6 controller bool?,
  7 blockOwnerDeletion bool?
ManagedFieldsEntry: 1 manager string, 2 operation string, 3 apiVersion string, 4 time Time, 6 fieldsType string,
  7 fieldsV1 FieldsV1, 8 subresource string
*Secret: 1 metadata ObjectMeta, 2 data bytes%, 3 type string, 4 stringData string%, 5 immutable bool?
*ConfigMap: 1 metadata ObjectMeta, 2 data string%, 3 binaryData bytes%, 4 immutable bool?
*Namespace: 1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 skip
NamespaceSpec: 1 finalizers string*
*DeleteOptions: 1 gracePeriodSeconds int?, 2 preconditions Preconditions, 3 orphanDependents bool?,
  4 propagationPolicy string, 5 dryRun string*
Preconditions: 1 uid string, 2 resourceVersion string
*Eviction: 1 metadata ObjectMeta, 2 deleteOptions DeleteOptions
*Lease: 1 metadata ObjectMeta, 2 spec LeaseSpec
LeaseSpec: 1 holderIdentity string, 2 leaseDurationSeconds int, 3 acquireTime MicroTime, 4 renewTime MicroTime,
  5 leaseTransitions int?
*TokenRequest: 1 metadata ObjectMeta, 2 spec TokenRequestSpec, 3 skip
TokenRequestSpec: 1 audiences string*, 4 expirationSeconds int
*SelfSubjectAccessReview: 1 metadata ObjectMeta, 2 spec AccessReviewSpec, 3 skip
AccessReviewSpec: 1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes PathAttributes
ResourceAttributes: 1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string,
  6 subresource string, 7 name string
PathAttributes: 1 path string, 2 verb string
*ServiceAccount: 1 metadata ObjectMeta, 2 secrets LocalObjectReference*, 3 imagePullSecrets LocalObjectReference*,
  4 automountServiceAccountToken bool?
LocalObjectReference: 1 name string
*Role: 1 metadata ObjectMeta, 2 rules PolicyRule*
*ClusterRole: 1 metadata ObjectMeta, 2 rules PolicyRule*
PolicyRule: 1 verbs string*, 2 apiGroups string*, 3 resources string*, 4 resourceNames string*,
  5 nonResourceURLs string*
*RoleBinding: 1 metadata ObjectMeta, 2 subjects Subject*, 3 roleRef RoleRef
*ClusterRoleBinding: 1 metadata ObjectMeta, 2 subjects Subject*, 3 roleRef RoleRef
Subject: 1 kind string, 2 apiGroup string, 3 name string, 4 namespace string
RoleRef: 1 apiGroup string, 2 kind string, 3 name string
*SelfSubjectReview: 1 metadata ObjectMeta, 2 skip
*SelfSubjectRulesReview: 1 metadata ObjectMeta, 2 spec RulesReviewSpec, 3 skip
RulesReviewSpec: 1 namespace string
*Service: 1 metadata ObjectMeta, 2 spec ServiceSpec, 3 skip
ServiceSpec: 1 ports ServicePort*, 2 selector string%, 3 clusterIP string, 4 type string, 5 externalIPs string*,
  7 sessionAffinity string, 8 loadBalancerIP string, 10 externalName string, 11 externalTrafficPolicy string,
  12 healthCheckNodePort int, 13 publishNotReadyAddresses bool, 17 ipFamilyPolicy string, 18 clusterIPs string*,
  19 ipFamilies string*, 22 internalTrafficPolicy string
ServicePort: 1 name string, 2 protocol string, 3 port int, 4 targetPort IntOrString, 5 nodePort int,
  6 appProtocol string
*PodDisruptionBudget: 1 metadata ObjectMeta, 2 spec PodDisruptionBudgetSpec, 3 skip
PodDisruptionBudgetSpec: 1 minAvailable IntOrString?, 2 selector LabelSelector, 3 maxUnavailable IntOrString?
LabelSelector: 1 matchLabels string%, 2 matchExpressions LabelSelectorRequirement*
LabelSelectorRequirement: 1 key string, 2 operator string, 3 values string*
*Deployment: 1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 skip
DeploymentSpec: 1 replicas int?, 2 selector LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy,
  5 minReadySeconds int, 6 revisionHistoryLimit int?, 7 paused bool, 9 progressDeadlineSeconds int?
DeploymentStrategy: 1 type string
PodTemplateSpec: 1 metadata ObjectMeta, 2 spec PodSpec
PodSpec: 2 containers Container*, 3 restartPolicy string, 4 terminationGracePeriodSeconds int?, 6 dnsPolicy string,
  7 nodeSelector string%, 8 serviceAccountName string, 9 serviceAccount string, 10 nodeName string,
  11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, 16 hostname string, 17 subdomain string,
  19 schedulerName string, 24 priorityClassName string
Container: 1 name string, 2 image string, 3 command string*, 4 args string*, 5 workingDir string,
  6 ports ContainerPort*, 7 env EnvVar*, 8 resources ResourceRequirements, 13 terminationMessagePath string,
  14 imagePullPolicy string, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, 20 terminationMessagePolicy string
ContainerPort: 1 name string, 2 hostPort int, 3 containerPort int, 4 protocol string, 5 hostIP string
EnvVar: 1 name string, 2 value string
ResourceRequirements:
"""


def _field(text: str) -> tuple[int, tuple[str, str]]:
    number, *name, kind = text.split()
    return int(number), (name[0] if name else "", kind)


def _messages() -> dict[str, Message]:
    rows = (line.partition(":") for line in _TABLE.strip().replace("\n  ", " ").splitlines())
    return {name: dict(map(_field, filter(None, fields.split(",")))) for name, _, fields in rows}


_MESSAGES = _messages()
KINDS = frozenset(name[1:] for name in _MESSAGES if name.startswith("*"))
MESSAGES = {name.removeprefix("*"): message for name, message in _MESSAGES.items()}
