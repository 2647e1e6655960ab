package hydrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// leftOut are the annotations, and labels, by which a program does not apply an object, or not always, or not as it is.
var leftOut = []struct {
	key, who string
	when     func(value string) bool // nil for any value
}{
	{"config.kubernetes.io/local-config", "kustomize, Flux and Config Sync leave it out", nil},
	{"kustomize.toolkit.fluxcd.io/reconcile", "Flux leaves it out", isOneOf("disabled")},
	{"kustomize.toolkit.fluxcd.io/ssa", "Flux leaves an existing one as it is", isOneOf("ignore", "ifnotpresent")},
	{"configmanagement.gke.io/managed", "Config Sync leaves it out", isOneOf("disabled")},
	{"configmanagement.gke.io/cluster-selector", "Config Sync leaves it out of other clusters", nil},
	{"configsync.gke.io/cluster-name-selector", "Config Sync leaves it out of other clusters", nil},
	{"client.lifecycle.config.k8s.io/mutation", "Config Sync leaves an existing one as it is", isOneOf("ignore")},
	{argoHook, "Argo CD leaves it out of a sync", isNoneOf("presync", "sync", "postsync")},
	{helmHook, "Argo CD leaves it out of a sync", isNoneOf("crd-install", "pre-install", "pre-upgrade", "post-install", "post-upgrade")},
}

const (
	argoHook = "argocd.argoproj.io/hook"
	helmHook = "helm.sh/hook"
)

// LeftOut reports whether some program that deploys manifests does not apply the object as it is, although it is in the tree:
// who, and by which annotation.
func (o Object) LeftOut() (why string, left bool) {
	metadata, _ := o.content["metadata"].(map[string]any)
	marks, _ := metadata["labels"].(map[string]any)
	marks = maps.Clone(marks)
	annotations, _ := metadata["annotations"].(map[string]any)
	if marks == nil {
		marks = annotations
	} else {
		maps.Copy(marks, annotations)
	}
	for _, rule := range leftOut {
		value, marked := marks[rule.key]
		if _, argo := marks[argoHook]; !marked || rule.key == helmHook && argo {
			continue
		}
		if rule.when == nil || rule.when(fmt.Sprint(value)) {
			return fmt.Sprintf("%s (%s: %v)", rule.who, rule.key, value), true
		}
	}
	return "", false
}

func isOneOf(values ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(values, strings.ToLower(strings.TrimSpace(value))) }
}

// isNoneOf is for lists with commas.
func isNoneOf(values ...string) func(string) bool {
	known := isOneOf(values...)
	return func(list string) bool { return !slices.ContainsFunc(strings.Split(list, ","), known) }
}

// Applied returns the objects that everybody applies.
func Applied(objects []Object) []Object {
	return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
		_, left := o.LeftOut()
		return left
	})
}

// warnLeftOut names the objects that are left out, for people.
func warnLeftOut(objects []Object) []string {
	var warnings []string
	for _, o := range objects {
		if why, left := o.LeftOut(); left {
			warnings = append(warnings, fmt.Sprintf("%s: %v: %s; no gate counts it", o.Source, o, why))
		}
	}
	return firstOf(warnings, maxProblems)
}
