{{- define "assent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters at most: a StatefulSet adds a revision's hash to the name, in a label of 63. */}}
{{- define "assent.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "assent.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "assent.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Only what never changes: a StatefulSet's selector and claims are immutable. */}}
{{- define "assent.selectorLabels" -}}
app.kubernetes.io/name: {{ include "assent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: collector
{{- end }}

{{- define "assent.releaseLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "assent.labels" -}}
{{ include "assent.selectorLabels" . }}
{{ include "assent.releaseLabels" . }}
{{- end }}

{{- define "assent.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "assent.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "assent.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}

{{/* A time span of assent.toml (`500ms`, `60s`, `5m`) in whole seconds, rounded up. */}}
{{- define "assent.seconds" -}}
{{- $ms := get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) (regexFind "[a-z]+$" .) }}
{{- div (add (mul (regexFind "^[0-9]+" . | int64) $ms) 999) 1000 }}
{{- end }}

{{/* A size of assent.toml (`10GiB`) or a Kubernetes quantity (`12Gi`, `12G`) in bytes. */}}
{{- define "assent.bytes" -}}
{{- if kindIs "string" . }}
{{- $unit := regexFind "[A-Za-z]+$" . | trimSuffix "B" }}
{{- $factor := get (dict
      "" 1
      "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000
      "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) $unit }}
{{- mul (regexFind "^[0-9]+" . | int64) $factor }}
{{- else }}
{{- int64 . }}
{{- end }}
{{- end }}

{{- define "assent.gracePeriodSeconds" -}}
{{- $needed := add (include "assent.seconds" .Values.config.ingress.drain_grace | int64) (include "assent.seconds" .Values.config.delivery.drain_timeout | int64) }}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- add $needed 15 }}
{{- else if le (.Values.terminationGracePeriodSeconds | int64) $needed }}
{{- fail (printf "terminationGracePeriodSeconds (%d) has to be longer than config.ingress.drain_grace and config.delivery.drain_timeout together (%d): a pod would be killed while it drains" (.Values.terminationGracePeriodSeconds | int64) $needed) }}
{{- else }}
{{- .Values.terminationGracePeriodSeconds | int64 }}
{{- end }}
{{- end }}

{{/* Where a container looks for what its arguments name. */}}
{{- define "assent.dataDir" -}}/var/lib/assent{{- end }}
{{- define "assent.configDir" -}}/etc/assent/config{{- end }}
{{- define "assent.policyDir" -}}/etc/assent/policy{{- end }}
{{- define "assent.tlsDir" -}}/etc/assent/tls{{- end }}

{{/* A pod's environment: the password of a user and the Secret that it lies in. */}}
{{- define "assent.passwordEnv" -}}
{{/* Not ASSENT_CLICKHOUSE__PASSWORD: there a password of digits would be read as a number. */ -}}
- name: ASSENT_CLICKHOUSE_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
