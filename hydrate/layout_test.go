package hydrate

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// object makes an object of "apiVersion kind namespace/name"; a name that ends in * is a generateName.
func object(t *testing.T, spec string) Object {
	t.Helper()
	f := strings.SplitN(spec, " ", 3)
	namespace, name, namespaced := strings.Cut(f[2], "/")
	if !namespaced || namespace == ".." {
		namespace, name = "", f[2]
	}
	key := "name"
	if generated, ok := strings.CutSuffix(name, "*"); ok {
		key, name = "generateName", generated
	}
	document := fmt.Sprintf("{apiVersion: %q, kind: %q, metadata: {%s: %q, namespace: %q}}", f[0], f[1], key, name, namespace)
	objects, err := Objects([]Manifest{{Source: "from " + spec, Data: []byte(document)}})
	if err != nil {
		t.Fatal(err)
	}
	return objects[0]
}

func TestLayoutNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 250)
	for name, c := range map[string]struct{ objects, want []string }{
		"plain": {
			[]string{"apps/v1 Deployment web", "v1 Service a/web", "v1 ServiceAccount web"},
			[]string{"deployment-web.yaml", "service-web.yaml", "serviceaccount-web.yaml"},
		},
		"groups meet, the core group has nothing to add": {
			[]string{"serving.knative.dev/v1 Service web", "v1 Service web"},
			[]string{"service.serving.knative.dev-web.yaml", "service-web.yaml"},
		},
		"namespaces meet": {
			[]string{"apps/v1 Deployment a/web", "apps/v1 Deployment b/web", "apps/v1 Deployment web"},
			[]string{"a-deployment-web.yaml", "b-deployment-web.yaml", "deployment-web.yaml"},
		},
		"groups and namespaces meet": {
			[]string{"x.io/v1 Service a/web", "x.io/v1 Service b/web", "v1 Service a/web", "v1 Service b/web"},
			[]string{"a-service.x.io-web.yaml", "b-service.x.io-web.yaml", "a-service-web.yaml", "b-service-web.yaml"},
		},
		"case meets": {
			[]string{"v1 Role Admin", "v1 Role admin"},
			[]string{"role-admin-f1c4abc262ac.yaml", "role-admin-35fc845b1e87.yaml"},
		},
		"a name like another's prefix": {
			[]string{"v1 A a/b-c", "v1 A b/b-c", "v1 A-A b-c"},
			[]string{"a-a-b-c-b58572e0c8fe.yaml", "b-a-b-c.yaml", "a-a-b-c-55ae17a3749b.yaml"},
		},
		"unsafe": {
			[]string{"v1 Role ../../x", "v1 Role system:node", "v1 Role %2e", "v1 .Role é", `v1 Role a\b`, "v1 Role ..."},
			[]string{"role-..%2f..%2fx.yaml", "role-system%3anode.yaml", "role-%252e.yaml", "%2erole-%c3%a9.yaml", "role-a%5cb.yaml", "role-....yaml"},
		},
		"long": {
			[]string{"v1 Role " + long, "v1 Role " + long + "b"},
			[]string{"role-" + strings.Repeat("a", 232) + "-6223ab32f992.yaml", "role-" + strings.Repeat("a", 232) + "-b420f46f30e4.yaml"},
		},
		"generated": {
			[]string{"batch/v1 Job once-*", "batch/v1 Job a/once-*"},
			[]string{"job-once-8efcf5f6fb29.yaml", "job-once-d90d5bca4147.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var objects []Object
			for _, spec := range c.objects {
				objects = append(objects, object(t, spec))
			}
			got := fileNames(objects)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for _, name := range got {
				if len(name) > maxNameBytes {
					t.Errorf("%s has %d bytes", name, len(name))
				}
			}
		})
	}
}

func TestLayoutDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	var objects []Object
	for _, spec := range []string{
		"v1 Service web", "x.io/v1 Service a/web", "y.io/v1 Service a/web", "x.io/v1 Service b/web", "v1 Role A", "v1 Role a", "v1 A a/b-c", "v1 A b/b-c", "v1 A-A b-c", "v1 Pod p-*",
	} {
		objects = append(objects, object(t, spec))
	}
	for _, mode := range []Mode{PerObject, Single} {
		var first string
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 1))
			r.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
			tree, err := Layout(objects, mode, "")
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for name, data := range tree.Files() {
				fmt.Fprintf(&all, "%s:\n%s", name, data)
			}
			if first == "" {
				first = all.String()
			} else if diff := cmp.Diff(first, all.String()); diff != "" {
				t.Fatalf("%s, seed %d: %s", mode, seed, diff)
			}
		}
	}
}

func TestLayoutSingle(t *testing.T) {
	t.Parallel()
	tree, err := Layout([]Object{object(t, "v1 Service web"), object(t, "v1 Pod web")}, Single, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := fs.ReadFile(tree, "manifest.yaml")
	const want = `apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: ""
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: ""
`
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestLayoutRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		objects []string
		mode    Mode
		want    string
	}{
		{[]string{"apps/v1 Deployment a/web", "apps/v1beta1 Deployment a/web"}, PerObject,
			"Deployment.apps a/web is there twice, from from apps/v1 Deployment a/web and from from apps/v1beta1 Deployment a/web; render it once"},
		{[]string{"v1 Pod p-*", "v1 Pod p-*"}, Single, "Pod p-* is there twice, from from v1 Pod p-* and from from v1 Pod p-*; render it once"},
		{[]string{"v1 ConfigMap a", "v1 ConfigMap home/a"}, PerObject,
			"ConfigMap home/a is there twice, from from v1 ConfigMap a and from from v1 ConfigMap home/a; render it once; the cluster takes ConfigMap a and ConfigMap home/a for one"},
		{[]string{"v1 ConfigMap a", "v1 ConfigMap b/a"}, PerObject, ""},
		{[]string{"rbac.authorization.k8s.io/v1 ClusterRole x/a", "rbac.authorization.k8s.io/v1 ClusterRole y/a"}, PerObject,
			"ClusterRole.rbac.authorization.k8s.io y/a is there twice, from from rbac.authorization.k8s.io/v1 ClusterRole x/a and from from rbac.authorization.k8s.io/v1 ClusterRole y/a; " +
				"render it once; the cluster takes ClusterRole.rbac.authorization.k8s.io x/a and ClusterRole.rbac.authorization.k8s.io y/a for one"},
		{nil, "tree", `layout "tree" is neither "per-object" nor "single"`},
	} {
		var objects []Object
		for _, spec := range c.objects {
			objects = append(objects, object(t, spec))
		}
		if _, err := Layout(objects, c.mode, "home"); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestScopeOfCustomResources: their definition says whether they have a namespace.
func TestScopeOfCustomResources(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]bool{"Cluster": true, "Namespaced": false} {
		objects, err := Objects([]Manifest{{Data: []byte("kind: List\nitems:\n- {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x}, spec: {group: a.b, scope: " + scope +
			", names: {kind: C}}}\n- {apiVersion: a.b/v1, kind: C, metadata: {name: c, namespace: a}}\n- {apiVersion: a.b/v1, kind: C, metadata: {name: c, namespace: b}}")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Layout(objects, PerObject, ""); (err != nil) != want {
			t.Errorf("%s: %v", scope, err)
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add("apps", "Deployment", "a", "web", "", "Service", "", "web", "x", "A-A", "", "b")
	f.Fuzz(func(t *testing.T, g1, k1, n1, m1, g2, k2, n2, m2, g3, k3, n3, m3 string) {
		var objects []Object
		ids := map[identity]bool{}
		for _, p := range [][4]string{{g1, k1, n1, m1}, {g2, k2, n2, m2}, {g3, k3, n3, m3}} {
			if p[3] == "" {
				return
			}
			o := Object{Group: p[0], Kind: p[1], Namespace: p[2], Name: p[3], document: &document{encoded: func() []byte { return nil }}}
			ids[o.identity()] = true
			objects = append(objects, o)
		}
		tree, err := Layout(objects, PerObject, "")
		if (err == nil) != (len(ids) == len(objects)) {
			t.Fatalf("%d objects, %d identities, error %v", len(objects), len(ids), err)
		}
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for name := range tree.Files() {
			if seen[name] || len(name) > maxNameBytes || name[0] == '.' || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-%") != "" {
				t.Fatalf("bad name %q", name)
			}
			seen[name] = true
		}
	})
}
