{{/* A value as TOML. JSON's strings are TOML's basic strings. Whole numbers come out of YAML as floats. */}}
{{- define "assent.toml.value" -}}
{{- if kindIs "bool" . }}{{ . }}{{ else if or (kindIs "string" .) (kindIs "slice" .) }}{{ mustToRawJson . }}{{ else if kindIs "map" . }}{ {{- range $i, $key := keys . | sortAlpha }}{{ if $i }},{{ end }} {{ $key }} = {{ include "assent.toml.value" (get $ $key) }}{{ end }} }{{ else }}{{ int64 . }}{{ end }}
{{- end }}

{{/* assent.toml: what the chart knows, over what `config` says. */}}
{{- define "assent.toml" -}}
{{- $values := .Values }}
{{- $sections := deepCopy $values.config }}
{{- $ingress := dict "grpc_addr" (printf "%s:%d" $values.listenAddress (int64 $values.ports.grpc)) }}
{{- if $values.tls.existingSecret }}
{{- $_ := set $ingress "tls.cert_file" (printf "%s/tls.crt" (include "assent.tlsDir" .)) }}
{{- $_ := set $ingress "tls.key_file" (printf "%s/tls.key" (include "assent.tlsDir" .)) }}
{{- end }}
{{- if $values.insecure.noTls }}{{- $_ := set $ingress "insecure_no_tls" true }}{{- end }}
{{- if $values.insecure.noAuth }}{{- $_ := set $ingress "insecure_no_auth" true }}{{- end }}
{{- $admin := dict
      "addr" (printf "%s:%d" $values.listenAddress (int64 $values.ports.admin))
      "insecure_listen_beyond_loopback" true }}
{{- $clickhouse := dict
      "url" $values.clickhouse.url
      "user" $values.clickhouse.user
      "database" $values.clickhouse.database }}
{{- $sections = mergeOverwrite $sections (dict "ingress" $ingress "admin" $admin "clickhouse" $clickhouse) }}
{{- if $values.policy.inline }}
{{- $sections = mergeOverwrite $sections (dict "policy" (dict "file" (printf "%s/policy.toml" (include "assent.configDir" .)))) }}
{{- else if $values.policy.versions }}
{{- $sections = mergeOverwrite $sections (dict "policy" (dict "file" (include "assent.policyDir" .))) }}
{{- end -}}
data_dir = {{ include "assent.toml.value" (include "assent.dataDir" .) }}
{{- range $section := keys $sections | sortAlpha }}

[{{ $section }}]
{{- $keys := get $sections $section }}
{{- range $key := keys $keys | sortAlpha }}
{{ $key }} = {{ include "assent.toml.value" (get $keys $key) }}
{{- end }}
{{- end }}
{{- range $values.tenants }}

[[tenants]]
name = {{ include "assent.toml.value" .name }}
api_key_sha256 = [{{ range $i, $digest := .apiKeySha256 }}{{ if $i }}, {{ end }}{{ include "assent.toml.value" $digest }}{{ end }}]
{{- with .privacyKeySha256 }}
privacy_key_sha256 = {{ include "assent.toml.value" . }}
{{- end }}
{{- with .redaction }}

[tenants.redaction]
{{- $redaction := . }}
{{- range $key := keys . | sortAlpha }}
{{ $key }} = {{ include "assent.toml.value" (get $redaction $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
