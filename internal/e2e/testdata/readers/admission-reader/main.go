// Admission judges an object by ValidatingAdmissionPolicies, as an API server does when the object is created.
//
//	admission-reader POLICIES OBJECT
//
// POLICIES is a file with policies and their bindings. The exit status is 3 if the object is denied.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

func main() {
	err := run(context.Background(), os.Args[1], os.Args[2])
	switch {
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, policies, file string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &object.Object); err != nil {
		return err
	}
	objects, err := read(policies)
	if err != nil {
		return err
	}
	namespace := object.GetNamespace()
	objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{corev1.LabelMetadataName: namespace}}})
	plugin, err := start(ctx, objects)
	if err != nil {
		return err
	}
	kind := object.GroupVersionKind()
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	attributes := admission.NewAttributesRecord(object, nil, kind, namespace, object.GetName(), resource, "",
		admission.Create, &metav1.CreateOptions{}, false, &user.DefaultInfo{Name: "ada"})
	return plugin.Validate(ctx, attributes, admission.NewObjectInterfacesFromScheme(scheme.Scheme))
}

// start returns the plugin when it knows the policies.
func start(ctx context.Context, objects []runtime.Object) (*validating.Plugin, error) {
	plugin, err := validating.NewPlugin(nil)
	if err != nil {
		return nil, err
	}
	client := fake.NewSimpleClientset(objects...)
	factory := informers.NewSharedInformerFactory(client, 0)
	initializer.New(client, dynamicfake.NewSimpleDynamicClient(scheme.Scheme), factory, authorizerfactory.NewAlwaysAllowAuthorizer(),
		utilfeature.DefaultFeatureGate, compatibility.DefaultBuildEffectiveVersion(), ctx.Done(), meta.NewDefaultRESTMapper(nil)).Initialize(plugin)
	if err := plugin.ValidateInitialization(); err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return plugin, nil
}

// read reads policies and bindings as an API server does: no unknown fields, and defaults filled in.
func read(file string) ([]runtime.Object, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var objects []runtime.Object
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		object, err := scheme.Scheme.New(kind.GroupVersionKind())
		if err != nil {
			return nil, err
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return nil, err
		}
		if policy, ok := object.(*admissionregistrationv1.ValidatingAdmissionPolicy); ok {
			fill(&policy.Spec)
		}
		objects = append(objects, object)
	}
}

func fill(spec *admissionregistrationv1.ValidatingAdmissionPolicySpec) {
	or(&spec.FailurePolicy, admissionregistrationv1.Fail)
	or(&spec.MatchConstraints.MatchPolicy, admissionregistrationv1.Equivalent)
	or(&spec.MatchConstraints.NamespaceSelector, metav1.LabelSelector{})
	or(&spec.MatchConstraints.ObjectSelector, metav1.LabelSelector{})
	for i := range spec.MatchConstraints.ResourceRules {
		or(&spec.MatchConstraints.ResourceRules[i].Scope, admissionregistrationv1.AllScopes)
	}
}

func or[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
