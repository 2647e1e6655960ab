// Package health asks a cluster whether an artifact is what runs there, and whether it is well. It is the home of the
// Kubernetes API client.
//
//	kubeconfig or in-cluster ──▶ Connect ──▶ Cluster.Wait(repository, digest) ──▶ []predicate.Source
//
// # What it promises
//
//   - A source is reported only when the controller that deploys says, of its object as it is declared now, that just this
//     digest is applied and healthy. Every source that was asked about must say so in one and the same look; anything less
//     is [NotReady], with each object's last words.
//   - Nothing is written to the cluster, and nothing is read but Applications, OCIRepositories and Kustomizations.
//   - No error holds a credential: those of kubeconfig files name the file, those of the API say what the server said.
//
// # What counts
//
// Of Argo CD (3.1 and later) an Application (argoproj.io/v1alpha1): sync status Synced, health status Healthy, no operation
// requested or running, the last one not failed, no refresh asked for, the status computed for the spec as it is (its
// comparedTo), and the revision of the source the digest.
//
// Of Flux an OCIRepository (source.toolkit.fluxcd.io/v1 or v1beta2) whose artifact's revision ends in the digest, and each
// Kustomization (kustomize.toolkit.fluxcd.io/v1) that applies it and has the same as lastAppliedRevision; both Ready for the
// generation that they have now, and not suspended. A Kustomization that neither waits (spec.wait) nor has health checks is
// refused with [ErrUnfit]: its Ready means applied, and says nothing of health. So is an OCIRepository that nothing applies.
package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/retry"
	"github.com/lockage/lockage/sign/predicate"
)

// FirstPause and LongestPause are between two looks at the cluster: each pause is twice as long as the one before.
const (
	FirstPause   = time.Second
	LongestPause = 15 * time.Second
)

const maxWords = 300 // bytes of what an object says of itself

var (
	// ErrUnfit says that waiting does not help: an object's declaration, or its absence, keeps it from ever telling.
	ErrUnfit = errors.New("no evidence of health can come from it")

	// ErrUnknown says that no object was found that deploys the artifact.
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

	Timeout time.Duration  // how long to wait for them; 0 looks once
	Pause   time.Duration  // before the second look; 0 stands for FirstPause
	Report  func(NotReady) // called after each look that does not end the wait, where it is not nil
}

// Name is a namespaced object's.
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

// isName tells whether s can name an object: what the API allows, of its characters at least.
func isName(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && s[0] != '.' && s[0] != '-'
}

// NotReady says that the time was up, and what each object said last.
type NotReady struct {
	Digest digest.Digest
	States []State
	Cause  error // that the last look failed with, if it did
}

// State is one object in the last look.
type State struct {
	predicate.Source
	Ready bool
}

func (e *NotReady) Error() string {
	var said []string
	for _, s := range e.States {
		if !s.Ready {
			said = append(said, fmt.Sprintf("%s %s/%s: %s", s.Kind, s.Namespace, s.Name, s.Status))
		}
	}
	if e.Cause != nil {
		said = append(said, e.Cause.Error())
	}
	return fmt.Sprintf("%s is not synced and healthy yet: %s", e.Digest, strings.Join(said, "; "))
}

func (e *NotReady) Unwrap() error { return e.Cause }

// Wait asks until every object says that the digest is applied and healthy, and returns what they said. An object that says
// otherwise, and a cluster that fails to answer, are asked again until the question's timeout; the error is a *NotReady
// then, if it ever answered. What no waiting mends (a refusal, an object that is not there,
// [ErrUnfit], [ErrUnknown]) ends it at once.
func (c *Cluster) Wait(ctx context.Context, q Question) ([]predicate.Source, error) {
	if err := q.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", q.Digest, err)
	}
	waiting, cancel := context.WithTimeout(ctx, max(q.Timeout, 0))
	defer cancel()
	pause := q.Pause
	if pause <= 0 {
		pause = FirstPause
	}
	last := &NotReady{Digest: q.Digest}
	for first := true; ; first = false {
		looking := waiting
		if first {
			looking = ctx // one look is always had; requests have a bound of their own
		}
		states, err := c.look(looking, q)
		switch {
		case err == nil && ready(states):
			return sources(states), nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && !passing(err):
			return nil, err
		case err == nil:
			last = &NotReady{Digest: q.Digest, States: states}
		case waiting.Err() == nil || first: // otherwise it failed because the time was up, which says nothing
			last = &NotReady{Digest: q.Digest, States: last.States, Cause: err}
		}
		if q.Report != nil {
			q.Report(*last)
		}
		if retry.Sleep(waiting, pause) != nil {
			switch {
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case last.States == nil:
				return nil, last.Cause // the cluster never answered
			}
			return nil, last
		}
		pause = min(2*pause, LongestPause)
	}
}

func ready(states []State) bool {
	for _, s := range states {
		if !s.Ready {
			return false
		}
	}
	return len(states) > 0
}

func sources(states []State) []predicate.Source {
	all := make([]predicate.Source, len(states))
	for i, s := range states {
		all[i] = s.Source
	}
	return all
}
