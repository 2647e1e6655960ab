package hydrate

import (
	"strings"
	"testing"
)

func TestGuardSecrets(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n"
	const encrypted = "'ENC[AES256_GCM,data:aHVudGVyMg==,iv:a,tag:b,type:str]'"
	for name, c := range map[string]struct {
		text string
		want string // part of the error, "" for none
	}{
		"data":               {head + "data: {p: aHVudGVyMg==}", "a.yaml: Secret db"},
		"stringData":         {head + "stringData: {a: '', p: hunter2}", "a.yaml: Secret db"},
		"both":               {head + "data: {}\nstringData: {p: hunter2}", "a.yaml: Secret db"},
		"number":             {head + "stringData: {p: 0}", "a.yaml: Secret db"},
		"no map":             {head + "data: hunter2", "a.yaml: Secret db"},
		"namespace":          {"apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\ndata: {p: aHVudGVyMg==}", "a.yaml: Secret shop/db"},
		"generated name":     {"apiVersion: v1\nkind: Secret\nmetadata: {generateName: db-}\ndata: {p: aHVudGVyMg==}", "a.yaml: Secret db-*"},
		"list":               {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: in}, data: {p: aHVudGVyMg==}}]}]", "a.yaml: Secret in"},
		"typed list":         {"apiVersion: v1\nkind: SecretList\nitems: [{metadata: {name: in}, data: {p: aHVudGVyMg==}}]", "a.yaml: Secret in"},
		"template":           {"apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {name: t}\nobjects: [{apiVersion: v1, kind: Secret, metadata: {name: in}, stringData: {p: hunter2}}]", "a.yaml: Secret in in Template.template.openshift.io t"},
		"allowed":            {"apiVersion: v1\nkind: Secret\nmetadata: {name: ok}\ndata: {p: aHVudGVyMg==}", ""},
		"no data":            {head + "type: kubernetes.io/service-account-token", ""},
		"empty":              {head + "data: {a: '', b: null, c: ~}\nstringData: {}", ""},
		"SOPS":               {head + "data: {p: " + encrypted + "}\nstringData: {q: " + encrypted + ", r: ''}\nsops: {mac: " + encrypted + "}", ""},
		"SOPS in part":       {head + "data: {p: aHVudGVyMg==, q: " + encrypted + "}\nsops: {mac: " + encrypted + "}", "a.yaml: Secret db"},
		"SOPS without a MAC": {head + "data: {p: " + encrypted + "}\nsops: {}", "a.yaml: Secret db"},
		"SOPS in name only":  {head + "data: {p: " + encrypted + "}", "a.yaml: Secret db"},
		"misspelt key":       {head + "stringdata: {p: hunter2}", "a.yaml: Secret db"},
		"applied before":     {"apiVersion: v1\nkind: Secret\nmetadata: {name: db, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"db\"},\"stringData\":{\"p\":\"hunter2\"}}'}}\nstringData: {p: " + encrypted + "}\nsops: {mac: " + encrypted + "}", "a.yaml: Secret db in an annotation of Secret db"},
		"recorded as a list": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {example.com/applied: \"{'kind': 'SecretList', 'apiVersion': 'v1', 'items': [{'metadata': {'name': 'in'}, 'data': {'p': 'aHVudGVyMg=='}}]}\"}}", "a.yaml: Secret in in an annotation of ConfigMap c"},
		"recorded encrypted": {"apiVersion: v1\nkind: Secret\nmetadata: {name: db, annotations: {a: '{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"p\":\"ENC[AES256_GCM,data:a]\"},\"sops\":{\"mac\":\"ENC[AES256_GCM,data:a]\"}}'}}", ""},
		"an odd annotation":  {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {a: '{{ kind: Secret', b: 'kind: [Secret'}}", ""},
		"SealedSecret":       {"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db}\nspec: {encryptedData: {p: hunter2}, template: {metadata: {name: db}, type: Opaque}}", ""},
		"ExternalSecret":     {"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: db}\nspec: {target: {template: {data: {p: 'hunter2 {{ .a }}'}}}}", ""},
		"another Secret":     {"apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: db}\ndata: {p: hunter2}", ""},
		"a reference":        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, ownerReferences: [{apiVersion: v1, kind: Secret, name: db}]}\nspec: {data: {p: hunter2}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := Objects([]Manifest{{Source: "a.yaml", Document: 1, Data: []byte(c.text)}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = guardSecrets(objects, []string{"ok"})
			if err == nil {
				if c.want != "" {
					t.Errorf("passes, want %s", c.want)
				}
				return
			}
			if c.want == "" || !strings.Contains(err.Error(), "\n  "+c.want+"\n") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
				t.Errorf("got error:\n%v\nwant in it:\n%s", err, c.want)
			}
		})
	}
}
