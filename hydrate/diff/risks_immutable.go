package diff

import (
	"slices"
	"strings"
)

// immutableRisks names the fields whose change an API server refuses, according to its validation
// (kubernetes/pkg/apis/*/validation).
func immutableRisks(c *comparison) []Risk {
	var names []string
	for _, f := range c.fields {
		if c.immutable(f) {
			names = append(names, f.Path.String())
		}
	}
	slices.Sort(names)
	return risk(RiskImmutable, Danger, "cannot be changed in place, the cluster will refuse it", slices.Compact(names))
}

// immutable reports whether the cluster refuses the change of the field.
func (c *comparison) immutable(f FieldChange) bool {
	if c.before == nil || c.after == nil || c.change == Renamed {
		return false
	}
	// in reports whether the field is at or below one of some dotted paths.
	in := func(paths ...string) bool {
		return slices.ContainsFunc(paths, func(path string) bool { return f.Path.below(strings.Split(path, ".")...) })
	}
	// inSpecBut reports whether the field is in the spec, and not one of the few that may change.
	inSpecBut := func(mutable ...string) bool {
		return in("spec") && (len(f.Path) == 1 || !slices.Contains(mutable, f.Path[1].name))
	}
	switch {
	case c.is("apps", "Deployment", "DaemonSet", "ReplicaSet"):
		return in("spec.selector")
	case c.is("apps", "StatefulSet"):
		return inSpecBut("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds")
	case c.is("batch", "Job"):
		return !c.recreated() && in("spec.template", "spec.selector", "spec.completionMode", "spec.podFailurePolicy", "spec.backoffLimitPerIndex", "spec.managedBy")
	case c.is("", "Service"):
		// It may be left to the cluster, and be set or given up with the type ExternalName.
		return f.Path.is("spec", "clusterIP") && f.Change == Changed && f.Before != "" && f.After != "" &&
			get(c.before, "spec", "type") != "ExternalName" && get(c.after, "spec", "type") != "ExternalName"
	case c.is("", "PersistentVolumeClaim"):
		return inSpecBut("resources", "volumeAttributesClassName")
	case c.is("storage.k8s.io", "StorageClass"):
		return in("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
	case c.is("rbac.authorization.k8s.io", "RoleBinding", "ClusterRoleBinding"):
		return in("roleRef")
	case c.is("", "Secret", "ConfigMap"):
		return c.is("", "Secret") && f.Path.is("type") ||
			c.before["immutable"] == true && (in("data", "binaryData", "stringData") || f.Path.is("immutable"))
	case c.is("scheduling.k8s.io", "PriorityClass"):
		return in("value", "preemptionPolicy")
	case c.is("networking.k8s.io", "IngressClass"):
		return in("spec.controller")
	case c.is("apiextensions.k8s.io", "CustomResourceDefinition"):
		return in("spec.scope", "spec.group", "spec.names.plural")
	case c.is("", "Pod"):
		return inSpecBut("containers", "initContainers", "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
	}
	return false
}

// recreated reports whether the tools that apply the object delete the old one first: hooks of Helm and Argo CD.
func (c *comparison) recreated() bool {
	annotations, _ := get(c.after, "metadata", "annotations").(map[string]any)
	return annotations["helm.sh/hook"] != nil || annotations["argocd.argoproj.io/hook"] != nil
}
