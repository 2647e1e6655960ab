package e2e

import (
	"reflect"
	"strings"
	"testing"
)

// TestUpstreamChart releases a chart that stock helm packed and pushed, and cosign signed.
func TestUpstreamChart(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bin, kind.start(t))
			w.promotable()
			w.command(".", bin, "keys", "generate", "upstream")
			write(t, w.path("gitops", "keys", "upstream.pub"), read(t, w.path("upstream.pub")))
			write(t, w.path("redis", "Chart.yaml"), "apiVersion: v2\nname: redis\nversion: 1.0.0+up1\n")
			write(t, w.path("redis", "values.yaml"), "replicas: 2\n")
			write(t, w.path("redis", "templates", "settings.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}\n"+
				"data: {replicas: {{ .Values.replicas | quote }}, version: {{ .Chart.Version | quote }}}\n")
			w.command(".", "helm", "package", "redis")
			w.command(".", "helm", "push", "redis-1.0.0+up1.tgz", "oci://"+w.registry+"/charts", "--plain-http")
			write(t, w.path("gitops", "redis.yaml"), `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: redis
lock: warehouses/redis
artifacts: `+w.registry+`/acme/redis-manifests
render: {releaseName: redis, namespace: redis, kubeVersion: "1.34"}
sign: {hydrator: {key: env://HYDRATOR_KEY}, promoter: {key: ../promote-staging.key}}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promote-staging.pub}
  upstream: {key: keys/upstream.pub}
stages:
  - {name: staging, gates: [{source: {by: [upstream]}}]}
`)
			chart := "oci://" + w.registry + "/charts/redis"
			w.command("gitops", bin, "lock", "discover", "-f", "redis.yaml", "--chart", chart, "--chart-version", "^1")
			w.pushGitOps("redis")
			made := w.hydrate("-f", "redis.yaml")[0]
			if output := w.refused("gitops", bin, "promote", "staging", "-f", "redis.yaml"); !strings.Contains(output, "no signature by an identity is attached") {
				t.Errorf("not denied for want of a signature: %s", output)
			}
			digest := strings.TrimSpace(w.command(".", "crane", "digest", w.registry+"/charts/redis:1.0.0_up1"))
			w.command(".", "cosign", "sign", "--tlog-upload=false", "--allow-http-registry=true", "--yes", "--key", w.path("upstream.key"), w.registry+"/charts/redis@"+digest)
			w.command("gitops", bin, "promote", "staging", "-f", "redis.yaml")
			w.command("gitops", bin, "verify", "staging", "--rebuild", "-f", "redis.yaml")
			if live := strings.TrimSpace(w.command(".", "crane", "digest", w.registry+"/acme/redis-manifests:staging")); live != made.Digest {
				t.Errorf("live is %s, not %s", live, made.Digest)
			}
			want := objects(t, w.command(".", "helm", "template", "redis", chart, "--version", "1.0.0+up1", "--plain-http", "--namespace", "redis", "--kube-version", "1.34"))
			if got := objects(t, w.command("gitops", bin, "render", "staging", "-f", "redis.yaml")); len(want) != 1 || !reflect.DeepEqual(got, want) {
				t.Errorf("rendered %v, helm %v", got, want)
			}
		})
	}
}
