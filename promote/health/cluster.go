package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/sign/predicate"
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
var (
	application   = kind{"argoproj.io", "Application", "applications", []string{"v1alpha1"}}
	ociRepository = kind{"source.toolkit.fluxcd.io", "OCIRepository", "ocirepositories", []string{"v1", "v1beta2"}}
	kustomization = kind{"kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", []string{"v1"}}
)

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

// object is an object of a cluster.
type object struct {
	kind
	fields map[string]any
}

// at returns a field of an object; the zero value if it is absent or of another type.
func at[T any](fields map[string]any, path ...string) T {
	value, _, _ := unstructured.NestedFieldNoCopy(fields, path...)
	field, _ := value.(T)
	return field
}

func (o object) str(path ...string) string { return at[string](o.fields, path...) }

func (o object) name() Name {
	return Name{o.str("metadata", "namespace"), o.str("metadata", "name")}
}

// judgement collects what speaks against an object.
type judgement struct {
	object
	against []string
}

// failIf notes an objection if it is true.
func (j *judgement) failIf(objection bool, format string, args ...any) {
	if objection {
		j.against = append(j.against, fmt.Sprintf(format, args...))
	}
}

// state returns the object's state: ready if nothing speaks against it.
func (j *judgement) state(revision, status string) State {
	j.failIf(j.str("metadata", "deletionTimestamp") != "", "it is being deleted")
	if len(j.against) > 0 {
		status = strings.Join(j.against, ", ")
	}
	n := j.name()
	return State{
		Source: predicate.Source{
			Kind: j.String(), Namespace: n.Namespace, Name: n.Name,
			Revision: terminal.Words(revision, maxWords), Status: terminal.Words(status, maxWords),
		},
		Ready: len(j.against) == 0,
	}
}

// names reports whether a revision is the digest, by itself or after a tag and @.
func names(revision string, d digest.Digest) bool {
	_, after, tagged := strings.Cut(revision, "@")
	return revision == d.String() || tagged && after == d.String()
}

// sameRepository reports whether the URL of a source is that of a repository.
func sameRepository(url, repository string) bool {
	name, ok := strings.CutPrefix(url, "oci://")
	return ok && strings.TrimSuffix(name, "/") == repository
}
