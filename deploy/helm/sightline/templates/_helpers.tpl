{{- define "sightline.name" -}}
{{ printf "%s-%s" .root.Release.Name .part | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sightline.selector" -}}
app.kubernetes.io/name: sightline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "sightline.labels" -}}
{{ include "sightline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* All enabled models, merged with the defaults, as JSON: {"inpaint": {...}, ...}. */}}
{{- define "sightline.models" -}}
{{- $models := dict }}
{{- range $name, $own := .Values.models }}
{{- $model := mergeOverwrite (deepCopy $.Values.modelDefaults) (deepCopy (default dict $own)) }}
{{- if $model.enabled }}{{ $_ := set $models $name $model }}{{ end }}
{{- end }}
{{- toJson $models }}
{{- end }}

{{- define "sightline.image" -}}
{{ .root.Values.image.repository }}/{{ .part }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ if .gpu }}-gpu{{ end }}
{{- end }}

{{- define "sightline.fleetSecret" -}}
{{ .Values.fleet.credentialSecret | default (include "sightline.name" (dict "root" . "part" "fleet-credential")) }}
{{- end }}

{{- define "sightline.queueEnv" -}}
- {name: SIGHTLINE_FLEET_CREDENTIAL_FILE, value: /run/sightline/fleet/fleet-credential}
- {name: SIGHTLINE_REDIS_URL, value: {{ required "redis.url says where the queue is" .Values.redis.url | quote }}}
- {name: SIGHTLINE_BLOBS_URL, value: {{ required "blobs.url says where pictures of jobs lie" .Values.blobs.url | quote }}}
{{- if .Values.redis.passwordSecret.name }}
- {name: SIGHTLINE_REDIS_PASSWORD_FILE, value: /run/sightline/redis/{{ .Values.redis.passwordSecret.key }}}
{{- end }}
{{- if .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .Values.tracing.endpoint | quote }}}
{{- end }}
{{- range $name, $value := .Values.blobs.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "sightline.envFrom" -}}
{{- if .Values.blobs.credentialsSecret }}
envFrom:
  - secretRef: {name: {{ .Values.blobs.credentialsSecret }}}
{{- end }}
{{- end }}

{{- define "sightline.podSecurity" -}}
automountServiceAccountToken: false
# A Service named `sightline` would set SIGHTLINE_PORT to a URL.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sightline.containerSecurity" -}}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "sightline.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sightline.selector" . | nindent 8 }}
{{- end }}

{{- /* Host names of the gateway, inside the cluster and outside. */}}
{{- define "sightline.hosts" -}}
{{- $name := include "sightline.name" (dict "root" . "part" "gateway") }}
{{- $local := printf "%s.%s" $name .Release.Namespace }}
{{- concat (list $name $local (printf "%s.svc" $local) (printf "%s.svc.cluster.local" $local)) .Values.gateway.hosts | join "," }}
{{- end }}

{{/* Weights in place of the shipped ones, from a claim that is mounted at /weights. */}}
{{- define "sightline.weightsEnv" -}}
{{- if .claim -}}
- {name: SIGHTLINE_WEIGHTS_FOLDER, value: /weights}
- {name: SIGHTLINE_WEIGHTS, value: {{ required "weights.use is required with weights.claim: catalogue:NAME or /weights/FILE.onnx" .use | quote }}}
{{- end -}}
{{- end }}
