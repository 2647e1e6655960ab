// Package health asks a cluster whether an artifact runs there, and whether it is healthy.
//
// # What it promises
//
//   - It reports a source only if the controller that deploys it states, of the object as it is declared now, that exactly
//     this digest is applied and healthy. Every source must state so in one and the same poll; anything less is [NotReady],
//     with each object's last status.
//   - It writes nothing to the cluster, and reads only Applications, OCIRepositories and Kustomizations.
//   - No error holds a credential: those of kubeconfig files name the file, those of the API quote the server.
//
// # What counts
//
// Argo CD (3.1 and later): an Application (argoproj.io/v1alpha1) with sync status Synced, health status Healthy, no operation
// requested or running, the last one not failed, no refresh requested, the status computed for the present spec (its
// comparedTo), and the digest as the revision of the source.
//
// Flux: an OCIRepository (source.toolkit.fluxcd.io/v1 or v1beta2) whose artifact's revision ends in the digest, and each
// Kustomization (kustomize.toolkit.fluxcd.io/v1) that applies it and has the same lastAppliedRevision; both Ready for their
// present generation, and not suspended. A Kustomization that neither waits (spec.wait) nor has health checks is refused
// with [ErrUnfit]: its Ready means applied, not healthy. So is an OCIRepository that nothing applies.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/lockage/lockage/internal/retry"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign/predicate"
)

// FirstPause and LongestPause bound the pauses between two polls of the cluster: each is twice as long as the one before.
const (
	FirstPause   = time.Second
	LongestPause = 15 * time.Second
	maxWords     = 300 // bytes of an object's status
)

var (
	// ErrUnfit is returned if waiting does not help: the object does not exist, or its declaration keeps it from ever
	// reporting health.
	ErrUnfit = errors.New("no evidence of health can come from it")

	// ErrUnknown is returned if no object deploys the artifact.
	ErrUnknown = errors.New("nothing in the cluster deploys it")
)

// Question is what to ask a cluster.
type Question struct {
	Repository string        // of the artifact, as in its reference: ghcr.io/acme/app-manifests
	Stage      string        // whose tag is followed
	Digest     digest.Digest // that must be applied and healthy

	// Applications and Kustomizations are the objects to ask. With none of either, they are those of the whole cluster whose
	// source is the repository, at the tag of the stage or the digest.
	Applications   []Name
	Kustomizations []Name

	Timeout time.Duration  // how long to wait; 0 polls once
	Pause   time.Duration  // before the second poll; 0 means FirstPause
	Report  func(NotReady) // called after each poll that does not end the wait; may be nil
}

// Name is the name of a namespaced object.
type Name struct{ Namespace, Name string }

func (n Name) String() string { return n.Namespace + "/" + n.Name }

// ParseName reads NAMESPACE/NAME.
func ParseName(s string) (Name, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || !isName(namespace) || !isName(name) {
		return Name{}, fmt.Errorf("%.100q is not NAMESPACE/NAME", s)
	}
	return Name{namespace, name}, nil
}

// isName reports whether s has the length and the characters of a name that the API allows.
func isName(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && s[0] != '.' && s[0] != '-'
}

// NotReady is returned by Wait after the timeout, or at the deadline of its context, with the last state of each object.
type NotReady struct {
	Digest digest.Digest
	States []State
	Cause  error // of the last poll, if it failed
}

// State is one object in a poll.
type State struct {
	predicate.Source
	Ready bool
}

func (e *NotReady) Error() string {
	var reasons []string
	for _, s := range e.States {
		if !s.Ready {
			reasons = append(reasons, fmt.Sprintf("%s %s/%s: %s", s.Kind, s.Namespace, s.Name, s.Status))
		}
	}
	if e.Cause != nil {
		reasons = append(reasons, e.Cause.Error())
	}
	return fmt.Sprintf("%s is not synced and healthy yet: %s", e.Digest, strings.Join(reasons, "; "))
}

func (e *NotReady) Unwrap() error { return e.Cause }

// Wait polls until every object states that the digest is applied and healthy, and returns their states. An object that
// states otherwise, and a cluster that fails to answer, are polled until the question's timeout; the error is a *NotReady
// then, if the cluster ever answered. An error that no waiting repairs (a refusal, [ErrUnfit], [ErrUnknown]) ends it at once.
func (c *Cluster) Wait(ctx context.Context, q Question) ([]predicate.Source, error) {
	if err := q.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", q.Digest, err)
	}
	waiting, cancel := context.WithTimeout(ctx, max(q.Timeout, 0))
	defer cancel()
	pause := cmp.Or(q.Pause, FirstPause)
	last := &NotReady{Digest: q.Digest}
	polling := ctx // the first poll is always completed; requests have a bound of their own
	for {
		states, err := c.poll(polling, q)
		switch {
		case err == nil && ready(states):
			return sources(states), nil
		case ctx.Err() != nil:
			return nil, ended(ctx, last)
		case err != nil && !temporary(err):
			return nil, err
		case err == nil:
			last = &NotReady{Digest: q.Digest, States: states}
		case polling.Err() == nil: // else it failed because of the timeout
			last = &NotReady{Digest: q.Digest, States: last.States, Cause: err}
		}
		if q.Report != nil {
			q.Report(*last)
		}
		if retry.Sleep(waiting, pause) != nil {
			switch {
			case ctx.Err() != nil:
				return nil, ended(ctx, last)
			case last.States == nil:
				return nil, last.Cause // the cluster never answered
			}
			return nil, last
		}
		polling, pause = waiting, min(2*pause, LongestPause)
	}
}

// ended returns the error of a wait whose context ended: the last state of the objects, if that was because of a deadline.
func ended(ctx context.Context, last *NotReady) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && last.States != nil:
		return &NotReady{Digest: last.Digest, States: last.States}
	case last.Cause != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), last.Cause)
	}
	return context.Cause(ctx)
}

func ready(states []State) bool {
	return len(states) > 0 && !slices.ContainsFunc(states, func(s State) bool { return !s.Ready })
}

func sources(states []State) []predicate.Source {
	all := make([]predicate.Source, len(states))
	for i, s := range states {
		all[i] = s.Source
	}
	return all
}

// poll reads every object once.
func (c *Cluster) poll(ctx context.Context, q Question) ([]State, error) {
	if len(q.Applications) == 0 && len(q.Kustomizations) == 0 {
		states, err := c.find(ctx, q)
		if apierrors.IsForbidden(err) { // the account may not list the objects of a whole cluster
			err = fmt.Errorf("%w; let the account list Applications, OCIRepositories and Kustomizations of all namespaces, or name the objects with attest --application or --flux", err)
		}
		return states, err
	}
	var states []State
	for _, n := range q.Applications {
		o, err := c.get(ctx, application, n)
		if err != nil {
			return nil, err
		}
		states = append(states, judgeApplication(o, q.Digest))
	}
	seen := map[Name]bool{}
	for _, n := range q.Kustomizations {
		o, err := c.get(ctx, kustomization, n)
		if err != nil {
			return nil, err
		}
		from, ok := o.sourceRef()
		if !ok {
			return nil, fmt.Errorf("%s %s: %w: its source is not an OCIRepository", o, n, ErrUnfit)
		}
		if !seen[from] {
			seen[from] = true
			repository, err := c.get(ctx, ociRepository, from)
			if err != nil {
				return nil, err
			}
			states = append(states, judgeFlux(repository, q.Digest))
		}
		if states, err = appendKustomization(states, o, q); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func appendKustomization(states []State, o object, q Question) ([]State, error) {
	if !o.checksHealth() {
		return nil, fmt.Errorf("%s %s: %w: it does not check whether what it applied is healthy; set spec.wait to true", o, o.name(), ErrUnfit)
	}
	return append(states, judgeFlux(o, q.Digest)), nil
}

// find reads every object whose source is the stage's artifact.
func (c *Cluster) find(ctx context.Context, q Question) ([]State, error) {
	apps, err := c.list(ctx, application, func(o object) bool {
		return slices.ContainsFunc(o.sources(), func(s source) bool {
			return sameRepository(s.url, q.Repository) && q.follows(s.target, "")
		})
	})
	if err != nil {
		return nil, err
	}
	repositories, err := c.list(ctx, ociRepository, func(o object) bool {
		return sameRepository(o.str("spec", "url"), q.Repository) && q.follows(o.str("spec", "ref", "tag"), o.str("spec", "ref", "digest"))
	})
	if err != nil {
		return nil, err
	}
	if len(apps) == 0 && len(repositories) == 0 {
		return nil, fmt.Errorf("%w: no Application and no OCIRepository has the source oci://%s at tag %s; name them with --application or --flux",
			ErrUnknown, q.Repository, q.Stage)
	}
	var states []State
	for _, o := range apps {
		states = append(states, judgeApplication(o, q.Digest))
	}
	if len(repositories) == 0 {
		return states, nil
	}
	all, err := c.list(ctx, kustomization, func(o object) bool { _, ok := o.sourceRef(); return ok })
	if err != nil {
		return nil, err
	}
	for _, repository := range repositories {
		states = append(states, judgeFlux(repository, q.Digest))
		applied := false
		for _, o := range all {
			if from, _ := o.sourceRef(); from != repository.name() {
				continue
			}
			applied = true
			if states, err = appendKustomization(states, o, q); err != nil {
				return nil, err
			}
		}
		if !applied {
			return nil, fmt.Errorf("%s %s: %w: no Kustomization applies it", repository, repository.name(), ErrUnfit)
		}
	}
	return states, nil
}

// follows reports whether a source at a tag or digest is the stage's: in a repository of several stages, the tag names the
// stage.
func (q Question) follows(tag, digest string) bool {
	return tag != "" && oci.StageOfTag(tag) == q.Stage || digest == q.Digest.String() || tag == q.Digest.String()
}
