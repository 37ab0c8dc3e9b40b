{{/* What a schema cannot say, and what a collector would otherwise say in a crash loop. */}}
{{- define "assent.validate" -}}
{{- $values := .Values }}
{{- if not $values.image.repository }}
{{- fail "image.repository is empty: name the image that was built from the Dockerfile" }}
{{- end }}
{{- if not $values.clickhouse.url }}
{{- fail "clickhouse.url is empty: give the HTTP interface of ClickHouse, such as https://clickhouse.internal:8443" }}
{{- end }}
{{- if not $values.pseudonym.existingSecret }}
{{- fail "pseudonym.existingSecret is empty: name the Secret with the pseudonym key, which all collectors share; the chart's README shows how to make one" }}
{{- end }}
{{- if and (not $values.tenants) (not $values.insecure.noAuth) }}
{{- fail "tenants is empty: give at least one tenant with the SHA-256 of its API key (the chart's README shows how), or set insecure.noAuth to let in everyone who reaches the port" }}
{{- end }}
{{- if and (not $values.tls.existingSecret) (not $values.insecure.noTls) }}
{{- fail "tls.existingSecret is empty: name a Secret of the type kubernetes.io/tls, or set insecure.noTls when a proxy or a mesh ends TLS in front of the collector" }}
{{- end }}
{{- if and $values.tls.existingSecret $values.insecure.noTls }}
{{- fail "tls.existingSecret and insecure.noTls contradict each other" }}
{{- end }}
{{- if and $values.policy.inline $values.policy.versions }}
{{- fail "policy.inline and policy.versions contradict each other" }}
{{- end }}
{{- $max := include "assent.bytes" $values.config.spool.max_bytes | int64 }}
{{- $size := include "assent.bytes" $values.persistence.size | int64 }}
{{- if lt (mul $size 10) (mul $max 11) }}
{{- fail (printf "persistence.size (%s) is too small for config.spool.max_bytes (%v): it has to hold that and a tenth more, or the disk is full before the spool is" $values.persistence.size $values.config.spool.max_bytes) }}
{{- end }}
{{- if and $values.migrate.user (not $values.migrate.existingSecret) }}
{{- fail "migrate.user has no password: name its Secret in migrate.existingSecret" }}
{{- end }}
{{- if and $values.autoscaling.enabled (gt (int64 $values.autoscaling.minReplicas) (int64 $values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is larger than autoscaling.maxReplicas" }}
{{- end }}
{{- if eq (int64 $values.ports.grpc) (int64 $values.ports.admin) }}
{{- fail "ports.grpc and ports.admin are the same" }}
{{- end }}
{{- end }}
