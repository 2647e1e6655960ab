package hydrate

import (
	"fmt"
	"strings"
	"testing"
)

func TestLeftOut(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]string{
		"annotations: {config.kubernetes.io/local-config: 'true'}":         "kustomize, Flux and Config Sync leave it out (config.kubernetes.io/local-config: true)",
		"annotations: {config.kubernetes.io/local-config: 'false'}":        "kustomize", // which asks for the key only
		"annotations: {config.kubernetes.io/local-config: false}":          "kustomize",
		"labels: {kustomize.toolkit.fluxcd.io/reconcile: Disabled}":        "Flux leaves it out",
		"annotations: {kustomize.toolkit.fluxcd.io/reconcile: enabled}":    "",
		"annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}":     "Flux leaves an existing one as it is",
		"annotations: {kustomize.toolkit.fluxcd.io/ssa: Merge}":            "",
		"annotations: {configmanagement.gke.io/managed: disabled}":         "Config Sync",
		"annotations: {argocd.argoproj.io/hook: Skip}":                     "Argo CD leaves it out of a sync",
		"annotations: {argocd.argoproj.io/hook: 'SyncFail, PostDelete'}":   "Argo CD",
		"annotations: {argocd.argoproj.io/hook: 'PreSync, PostDelete'}":    "",
		"annotations: {helm.sh/hook: test}":                                "Argo CD",
		"annotations: {helm.sh/hook: 'pre-install, pre-rollback'}":         "",
		"annotations: {helm.sh/hook: test, argocd.argoproj.io/hook: Sync}": "",
		"labels: {app: a}, annotations: {b: c}":                            "",
		"labels: {app: a}, annotations: {argocd.argoproj.io/hook: Skip}":   "Argo CD",
	} {
		objects, err := Objects([]Manifest{{Source: "a.yaml", Data: fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, %s}", metadata)}})
		if err != nil {
			t.Fatal(err)
		}
		why, left := objects[0].LeftOut()
		if left != (want != "") || !strings.HasPrefix(why, want) || left == (len(Applied(objects)) == 1) || left != (len(warnLeftOut(objects)) == 1) {
			t.Errorf("%s: %q, %v", metadata, why, left)
		}
	}
}
