package diff

import "slices"

// immutableRisks names the fields whose change an API server refuses, as its validation says
// (kubernetes/pkg/apis/*/validation), and marks them.
func immutableRisks(p *pair) []Risk {
	if p.was == nil || p.now == nil || p.change == Renamed {
		return nil
	}
	fixed := p.fixed()
	if fixed == nil {
		return nil
	}
	var names []string
	for i := range p.fields {
		if f := &p.fields[i]; fixed(*f) {
			f.immutable = true
			names = append(names, f.path.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []Risk{{RiskImmutable, Danger, "cannot be changed in place, the cluster will refuse it", slices.Compact(names)}}
}

// fixed returns what tells the immutable fields of the object, nil if it has none.
func (p *pair) fixed() func(field) bool {
	below := func(paths ...[]string) func(field) bool {
		return func(f field) bool {
			return slices.ContainsFunc(paths, func(keys []string) bool { return f.path.below(keys...) })
		}
	}
	// specBut is for kinds of which little may change.
	specBut := func(mutable ...string) func(field) bool {
		return func(f field) bool {
			return f.path.below("spec") && (len(f.path) == 1 || !slices.Contains(mutable, f.path[1].name))
		}
	}
	switch {
	case p.is("apps", "Deployment", "DaemonSet", "ReplicaSet"):
		return below([]string{"spec", "selector"})
	case p.is("apps", "StatefulSet"):
		return specBut("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds")
	case p.is("batch", "Job"):
		if p.recreated() {
			return nil
		}
		return below([]string{"spec", "template"}, []string{"spec", "selector"}, []string{"spec", "completionMode"}, []string{"spec", "podFailurePolicy"},
			[]string{"spec", "backoffLimitPerIndex"}, []string{"spec", "managedBy"})
	case p.is("", "Service"):
		return func(f field) bool {
			// It may be left to the cluster, and be set or given up with the type ExternalName.
			return f.path.is("spec", "clusterIP") && f.change == Changed && f.was != "" && f.now != "" &&
				get(p.was, "spec", "type") != "ExternalName" && get(p.now, "spec", "type") != "ExternalName"
		}
	case p.is("", "PersistentVolumeClaim"):
		return specBut("resources", "volumeAttributesClassName")
	case p.is("storage.k8s.io", "StorageClass"):
		return below([]string{"parameters"}, []string{"provisioner"}, []string{"reclaimPolicy"}, []string{"volumeBindingMode"})
	case p.is("rbac.authorization.k8s.io", "RoleBinding", "ClusterRoleBinding"):
		return below([]string{"roleRef"})
	case p.is("", "Secret", "ConfigMap"):
		frozen := p.was["immutable"] == true
		return func(f field) bool {
			return p.is("", "Secret") && f.path.is("type") ||
				frozen && (f.path.below("data") || f.path.below("binaryData") || f.path.below("stringData") || f.path.is("immutable"))
		}
	case p.is("scheduling.k8s.io", "PriorityClass"):
		return below([]string{"value"}, []string{"preemptionPolicy"})
	case p.is("networking.k8s.io", "IngressClass"):
		return below([]string{"spec", "controller"})
	case p.is("apiextensions.k8s.io", "CustomResourceDefinition"):
		return below([]string{"spec", "scope"}, []string{"spec", "group"}, []string{"spec", "names", "plural"})
	case p.is("", "Pod"):
		return specBut("containers", "initContainers", "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
	}
	return nil
}

// recreated reports whether the tools that apply the object delete the old one first: hooks of Helm and Argo CD.
func (p *pair) recreated() bool {
	annotations, _ := get(p.now, "metadata", "annotations").(map[string]any)
	return annotations["helm.sh/hook"] != nil || annotations["argocd.argoproj.io/hook"] != nil
}
