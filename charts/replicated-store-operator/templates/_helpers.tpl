{{- define "rstore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of everything this release makes: the release's name where it says what this is, else release-chart. */}}
{{- define "rstore.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "rstore.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rstore.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names that YAML would read as numbers or truth values stay texts only in quotes: each label is quoted here, each name
where it is used. */}}
{{- define "rstore.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rstore.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "rstore.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{ include "rstore.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{- define "rstore.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rstore.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
The image given as (list root image): [registry/]repository:tag, and @digest where a digest is given, in its own value, at
the end of the tag or at the end of the repository. A digest needs no tag, so the chart's appVersion is not put in then.
*/}}
{{- define "rstore.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $tag := default "" $image.tag -}}
{{- $digest := default "" $image.digest -}}
{{- if gt (add (ternary 1 0 (contains "@" $image.repository)) (ternary 1 0 (contains "@" $tag)) (ternary 1 0 (ne $digest ""))) 1 -}}
{{- fail (printf "image %s: give its digest once: in digest, in tag or in repository" $image.repository) -}}
{{- end -}}
{{- with $root.Values.imageRegistry -}}{{ trimSuffix "/" . }}/{{- end -}}
{{- if contains "@" $image.repository -}}
{{- if $tag -}}{{- fail (printf "image %s has a digest: leave its tag empty" $image.repository) -}}{{- end -}}
{{- $image.repository -}}
{{- else if $digest -}}
{{- $image.repository -}}{{- if $tag -}}:{{ $tag }}{{- end -}}@{{ $digest }}
{{- else if hasPrefix "@" $tag -}}
{{- $image.repository -}}{{ $tag }}
{{- else -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $tag) -}}
{{- end -}}
{{- end -}}


{{/* Labels of the pod of `helm test`: not those by which the Deployment selects its own. */}}
{{- define "rstore.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "rstore.name" .) | trunc 63 | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/*
Name, namespace, labels and annotations of an object: (dict "root" $ "name" n), and "labels", "annotations" of its own,
"namespace" where it is not the release's ("-" for objects that have none).
*/}}
{{- define "rstore.metadata" -}}
name: {{ .name | quote }}
{{- if ne (default "" .namespace) "-" }}
namespace: {{ default .root.Release.Namespace .namespace | quote }}
{{- end }}
labels:
  {{- include "rstore.labels" .root | nindent 2 }}
  {{- range $key, $value := .labels }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- range $key, $value := . }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* How a PodMonitor scrapes, from .Values.monitoring; it ends within the list of relabelings. */}}
{{- define "rstore.scrape" -}}
path: /metrics
{{- with .podMonitorInterval }}
interval: {{ . | quote }}
{{- end }}
{{- with .podMonitorMetricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  {{- with .podMonitorRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  - sourceLabels: [__meta_kubernetes_pod_name]
    targetLabel: pod
{{- end -}}
