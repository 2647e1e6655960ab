// Package samplechart makes charts to measure with: a small one like most teams have, and one of the size of the
// largest in use (kube-prometheus-stack: 5 to 7 MB of custom resource definitions, some 150 templates, subcharts). What
// they hold is a function of nothing, so that figures can be compared.
package samplechart

import (
	"fmt"
	"strings"
	"testing/fstest"
)

const (
	definitions     = 10  // custom resource definitions, of some 700 KB each
	definitionTexts = 600 // described fields of one
	dashboards      = 25  // templates that are mostly text
	dashboardPanels = 60
	rules           = 35 // templates that loop
	rulesEach       = 40
	subcharts       = 3
	workloads       = 20 // templates of each subchart, which read values through helpers
)

const helpers = `{{- define "%[1]s.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | default .Chart.Version | quote }}
{{- end -}}
{{- define "%[1]s.name" -}}
{{- printf "%%s-%%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
`

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "%[1]s.name" . }}-%[2]d
  namespace: {{ .Release.Namespace }}
  labels: {{- include "%[1]s.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {{- include "%[1]s.labels" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "%[1]s.labels" . | nindent 8 }}
    spec:
      containers:
        - name: {{ .Chart.Name }}
          image: {{ .Values.image | default "docker.io/library/sidecar:1" | quote }}
          env:
            {{- range $name, $value := .Values.env }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
          resources: {{- toYaml .Values.resources | nindent 12 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "%[1]s.name" . }}-%[2]d
  namespace: {{ .Release.Namespace }}
  labels: {{- include "%[1]s.labels" . | nindent 4 }}
spec:
  selector: {{- include "%[1]s.labels" . | nindent 4 }}
  ports: [{name: http, port: 80, targetPort: {{ .Values.port }}}]
`

const values = `image: ""
replicas: 2
port: 8080
env: {LOG_LEVEL: info, REGION: eu-west-1, FEATURES: "a,b,c"}
resources:
  requests: {cpu: 100m, memory: 128Mi}
  limits: {memory: 256Mi}
`

// Small is a chart of one Deployment, Service, ConfigMap, ServiceAccount, disruption budget, autoscaler and network
// policy. Its value `image` is what it deploys.
func Small() fstest.MapFS {
	files := fstest.MapFS{}
	add(files, "Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n")
	add(files, "values.yaml", values)
	add(files, "templates/_helpers.tpl", fmt.Sprintf(helpers, "web"))
	add(files, "templates/workload.yaml", fmt.Sprintf(deployment, "web", 0))
	for _, kind := range []string{"v1/ConfigMap", "v1/ServiceAccount", "policy/v1/PodDisruptionBudget", "autoscaling/v2/HorizontalPodAutoscaler", "networking.k8s.io/v1/NetworkPolicy"} {
		slash := strings.LastIndexByte(kind, '/')
		add(files, "templates/"+strings.ToLower(kind[slash+1:])+".yaml", fmt.Sprintf(`apiVersion: %s
kind: %s
metadata:
  name: {{ include "web.name" . }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "web.labels" . | nindent 4 }}
`, kind[:slash], kind[slash+1:]))
	}
	return files
}

// Large is a chart of the size of the largest in use. Its value `image` is what it deploys.
func Large() fstest.MapFS {
	files := fstest.MapFS{}
	add(files, "Chart.yaml", "apiVersion: v2\nname: stack\nversion: 1.0.0\nappVersion: 1.2.3\n")
	add(files, "values.yaml", values)
	add(files, "templates/_helpers.tpl", fmt.Sprintf(helpers, "stack"))
	add(files, "templates/workload.yaml", fmt.Sprintf(deployment, "stack", 0))
	for i := range definitions {
		add(files, fmt.Sprintf("charts/definitions/crds/crd-%d.yaml", i), definition(i))
	}
	add(files, "charts/definitions/Chart.yaml", "apiVersion: v2\nname: definitions\nversion: 1.0.0\n")
	for i := range dashboards {
		add(files, fmt.Sprintf("templates/dashboards/%d.yaml", i), dashboard(i))
	}
	for i := range rules {
		add(files, fmt.Sprintf("templates/rules/%d.yaml", i), rule(i))
	}
	for i := range subcharts {
		name := fmt.Sprintf("exporter%d", i)
		dir := "charts/" + name + "/"
		add(files, dir+"Chart.yaml", "apiVersion: v2\nname: "+name+"\nversion: 1.0.0\n")
		add(files, dir+"values.yaml", values)
		add(files, dir+"templates/_helpers.tpl", fmt.Sprintf(helpers, name))
		for j := range workloads {
			add(files, fmt.Sprintf("%stemplates/workload-%d.yaml", dir, j), fmt.Sprintf(deployment, name, j))
		}
	}
	return files
}

func definition(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: things%[1]d.example.com
spec:
  group: example.com
  names: {kind: Thing%[1]d, plural: things%[1]d}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
`, i)
	for field := range definitionTexts {
		fmt.Fprintf(&b, "            field%d:\n              description: |-\n", field)
		for line := range 6 {
			fmt.Fprintf(&b, "                Line %d of the description of field %d of thing %d: which values it takes, and what they mean.\n", line, field, i)
		}
		b.WriteString("              type: object\n              properties:\n")
		for _, name := range []string{"name", "key", "optional"} {
			fmt.Fprintf(&b, "                %s:\n                  description: The %s of the %s.\n                  type: string\n                  maxLength: %d\n", name, name, "reference", field+1)
		}
	}
	return b.String()
}

func dashboard(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "stack.name" . }}-dashboard-%[1]d
  namespace: {{ .Release.Namespace }}
  labels: {{- include "stack.labels" . | nindent 4 }}
data:
  dashboard-%[1]d.json: |-
    {
`, i)
	for panel := range dashboardPanels {
		fmt.Fprintf(&b, "      \"panel%d\": {\"title\": \"Requests of {{ .Release.Name }}, panel %d\", \"targets\": [\n", panel, panel)
		for target := range 5 {
			fmt.Fprintf(&b, "        {\"expr\": \"sum(rate(http_requests_total{job=\\\"web\\\", code=~\\\"%d..\\\", dashboard=\\\"%d\\\"}[5m])) by (pod)\", \"legendFormat\": \"{{`{{ pod }}`}}\"},\n", target, i)
		}
		b.WriteString("      ]},\n")
	}
	b.WriteString("    }\n")
	return b.String()
}

func rule(i int) string {
	return fmt.Sprintf(`apiVersion: example.com/v1
kind: Thing1
metadata:
  name: {{ include "stack.name" . }}-rules-%[1]d
  namespace: {{ .Release.Namespace }}
  labels: {{- include "stack.labels" . | nindent 4 }}
spec:
  groups:
    - name: group-%[1]d
      rules:
        {{- range $n := until %[2]d }}
        - alert: {{ printf "Alert%%03d" $n }}
          expr: |-
            sum(rate(http_errors_total{job="web", rule="%[1]d"}[5m])) / sum(rate(http_requests_total{job="web"}[5m])) > 0.{{ $n }}
          for: {{ mul $n 2 }}m
          labels: {severity: {{ ternary "critical" "warning" (gt $n 20) }}, namespace: {{ $.Release.Namespace | quote }}}
          annotations:
            summary: Too many errors.
            description: {{ printf "More than %%d percent of the requests to %%s fail." $n $.Release.Name | quote }}
        {{- end }}
`, i, rulesEach)
}

func add(files fstest.MapFS, name, content string) {
	files[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
}
