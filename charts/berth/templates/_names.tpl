{{/* Labels of everything. Names are fixed: Berth's kinds are the cluster's, so there is one Berth in a cluster. */}}
{{- define "berth.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/part-of: berth
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "berth.labels" -}}
{{ include "berth.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Labels of an object for which values name more: each key once, the chart's own before those, and those before commonLabels.
Takes root, more, and a part's name or "".
*/}}
{{- define "berth.labelsWith" -}}
{{- $labels := include "berth.ownLabels" .root | fromYaml }}
{{- with .part }}{{ $labels = merge $labels (include "berth.selector" . | fromYaml) }}{{ end }}
{{- toYaml (merge $labels .more .root.Values.commonLabels) }}
{{- end }}

{{/* What selects a part's Pods; never changed, since a Deployment's selector cannot be. Takes a part's name. */}}
{{- define "berth.selector" -}}
app.kubernetes.io/name: berth
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* An image's reference. Takes root and image: a map of repository, tag and digest. */}}
{{- define "berth.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.imageRegistry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- if .image.digest }}{{ $name }}@{{ .image.digest }}
{{- else }}{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Secrets to pull images with. */}}
{{- define "berth.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Further settings as environment. Takes prefix and settings. */}}
{{- define "berth.settings" -}}
{{- range $name, $value := .settings }}
- name: {{ printf "%s%s" $.prefix (upper $name) }}
  {{- /* Helm reads all numbers as floats, and would write a million as 1e+06. */}}
  value: {{ if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value | int64 | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end }}

{{/*
The manifests of a file as they are for this release: in its namespace, with its labels. The files name the namespace
berth-system, and are applied as they are by whoever uses no Helm. Takes root, path, and if there are any, only: resources
with the verbs that are left of their rules, none for a rule that is left out.
*/}}
{{- define "berth.manifests" -}}
{{- $root := .root -}}
{{- range $text := regexSplit "(?m)^---\\s*$" (.root.Files.Get .path) -1 }}
{{- $object := $text | replace "berth-system" $root.Release.Namespace | fromYaml }}
{{- if hasKey $object "kind" }}
{{- $labels := merge (include "berth.labels" $root | fromYaml) ($object.metadata.labels | default dict) }}
{{- $_ := set $object.metadata "labels" $labels }}
{{- if $.only }}
{{- $rules := list }}
{{- range $object.rules }}
{{- $verbs := get $.only (first .resources) | default list }}
{{- if $verbs }}{{ $rules = append $rules (merge (dict "verbs" $verbs) .) }}
{{- else if not (hasKey $.only (first .resources)) }}{{ $rules = append $rules . }}{{ end }}
{{- end }}
{{- if $object.rules }}{{ $_ := set $object "rules" $rules }}{{ end }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}
