package hydrate

import (
	"cmp"
	"slices"
)

// clusterScoped are Kubernetes' own kinds that have no namespace, by group.
var clusterScoped = map[string][]string{
	"": {"ComponentStatus", "Namespace", "Node", "PersistentVolume"},
	"admissionregistration.k8s.io": {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"networking.k8s.io":            {"IPAddress", "IngressClass", "ServiceCIDR"},
	"node.k8s.io":                  {"RuntimeClass"},
	"policy":                       {"PodSecurityPolicy"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"resource.k8s.io":              {"DeviceClass", "DeviceTaintRule", "ResourceSlice"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
	"storagemigration.k8s.io":      {"StorageVersionMigration"},
}

// scope says where objects are in a cluster.
type scope struct {
	home    string            // the namespace of objects that leave it to the release; "" if that is not known
	cluster map[[2]string]any // group and kind of custom resources without a namespace
}

// scopeOf returns the scope of objects whose namespace is home where they name none.
func scopeOf(objects []Object, home string) scope {
	s := scope{home, map[[2]string]any{}}
	for _, o := range objects {
		spec, _ := o.content["spec"].(map[string]any)
		if o.Group != "apiextensions.k8s.io" || o.Kind != "CustomResourceDefinition" || spec["scope"] != "Cluster" {
			continue
		}
		names, _ := spec["names"].(map[string]any)
		s.cluster[[2]string{text(spec["group"]), text(names["kind"])}] = true
	}
	return s
}

// namespace returns the namespace that an object has in the cluster.
func (s scope) namespace(o Object) string {
	if _, custom := s.cluster[[2]string{o.Group, o.Kind}]; custom || slices.Contains(clusterScoped[o.Group], o.Kind) {
		return ""
	}
	return cmp.Or(o.Namespace, s.home)
}
