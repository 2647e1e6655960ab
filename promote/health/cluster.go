package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Bounds on what is asked of a cluster and read of its answers.
const (
	MaxObjects = 20_000 // of one kind in a cluster

	requestTimeout = 30 * time.Second
	pageSize       = 500
	maxAnswer      = 64 << 20 // bytes
)

// Config selects a cluster.
type Config struct {
	Kubeconfig string // a file; "" means $KUBECONFIG, ~/.kube/config, or the pod that this runs in
	Context    string // of the kubeconfig; "" means its current one
	UserAgent  string
}

// Cluster is a Kubernetes API. It is safe for concurrent use.
type Cluster struct{ client dynamic.Interface }

// Connect reads the configuration. It makes no request.
func Connect(config Config) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = config.Kubeconfig
	rules.WarnIfAllMissing = false
	loaded, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: config.Context}).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no Kubernetes cluster is configured, and this does not run in one; name a file with --kubeconfig")
	case err != nil:
		return nil, fmt.Errorf("Kubernetes configuration: %w", err) //nolint:staticcheck // a name is written as it is
	}
	loaded.UserAgent = config.UserAgent
	loaded.Timeout = requestTimeout
	loaded.QPS = -1 // a handful of requests, with pauses of our own
	loaded.WarningHandler = rest.NoWarnings{}
	loaded.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
	client, err := dynamic.NewForConfig(loaded)
	if err != nil {
		return nil, fmt.Errorf("Kubernetes configuration: %w", err) //nolint:staticcheck // a name is written as it is
	}
	return &Cluster{client}, nil
}

// bounded bounds the answers of a cluster.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	}
	return response, err
}

// kind is a kind of object, with the versions that are understood, the newest first.
type kind struct {
	group, kind, resource string
	versions              []string
}

func (k kind) String() string { return k.kind + "." + k.group }

func (k kind) in(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: version, Resource: k.resource}
}

// The kinds that are read.
func application() kind {
	return kind{"argoproj.io", "Application", "applications", []string{"v1alpha1"}}
}

func ociRepository() kind {
	return kind{"source.toolkit.fluxcd.io", "OCIRepository", "ocirepositories", []string{"v1", "v1beta2"}}
}

func kustomization() kind {
	return kind{"kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", []string{"v1"}}
}

// get reads one object. It returns [ErrUnfit] if the object does not exist.
func (c *Cluster) get(ctx context.Context, k kind, n Name) (object, error) {
	for _, version := range k.versions {
		found, err := c.client.Resource(k.in(version)).Namespace(n.Namespace).Get(ctx, n.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			return object{k, found.Object}, nil
		case !apierrors.IsNotFound(err):
			return object{}, fmt.Errorf("read %s %s: %w", k, n, err)
		}
	}
	return object{}, fmt.Errorf("%s %s: %w: it does not exist in this cluster", k, n, ErrUnfit)
}

// list reads all objects of a kind for which keep returns true. In a cluster without the kind there are no objects.
func (c *Cluster) list(ctx context.Context, k kind, keep func(object) bool) ([]object, error) {
	var found []object
	for _, version := range k.versions {
		seen, options := 0, metav1.ListOptions{Limit: pageSize}
		for {
			page, err := c.client.Resource(k.in(version)).List(ctx, options)
			if apierrors.IsNotFound(err) && seen == 0 {
				break // try the older version
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", k, err)
			}
			if seen += len(page.Items); seen > MaxObjects {
				return nil, fmt.Errorf("list %s: %w: more than %d are not searched; name those to ask with --application or --flux",
					k, ErrUnfit, MaxObjects)
			}
			for _, item := range page.Items {
				if o := (object{k, item.Object}); keep(o) {
					found = append(found, o)
				}
			}
			if options.Continue = page.GetContinue(); options.Continue == "" {
				return found, nil
			}
		}
	}
	return found, nil
}

// temporary reports whether asking again may help after an error.
func temporary(err error) bool {
	switch {
	case errors.Is(err, ErrUnfit), errors.Is(err, ErrUnknown),
		apierrors.IsUnauthorized(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err):
		return false
	}
	return true
}
