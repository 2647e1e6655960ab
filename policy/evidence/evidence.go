// Package evidence collects the facts that gates are judged by:
//
//		gates of a stage, files of the policy ref, registries ──▶ Collect ──▶ policy.Facts
//
//	  - Only what the gates ask for is read, each thing once, several at a time. Expressions and policies say by the variables that
//	    they name what they ask for.
//	  - Statements in the facts are verified: signed by an identity that the pipeline declares at the policy ref, about exactly
//	    that digest. Subject.Rejected has all others, with the reason.
//	  - A failure to read is an error, never a fact. The absence of a statement or a file is a fact.
//	  - The caller passes the time in.
//
// A verifier gets each key once: Facts.Identities maps every name to its key, or to issuer and subject, and a gate that trusts a name
// trusts the key. Identities of another stage, whose placeholders may select another key, are named STAGE/NAME, such as
// test/promoter: attestations about the artifacts of a stage are verified with the identities of that stage too.
//
// An identity whose key is in no file of the repository is not among Facts.Identities, and the rejected statements of a gate's subject
// say why.
//
// A rego gate names a folder of the GitOps repository or oci://REPOSITORY@sha256:DIGEST, see [Policies].
package evidence

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/rego"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

const (
	// concurrency bounds what is read at a time.
	concurrency = 6

	// maxKept bounds the decoded documents that a run keeps, in bytes as they are written.
	maxKept = 12 << 20

	// MaxHealthArtifacts bounds the artifacts of a soak's stage whose health attestations are read, the newest of them.
	MaxHealthArtifacts = 32
)

// Request names what is to be judged, and where the evidence lies.
type Request struct {
	Declared  pipeline.Expanded  // the stage with its gates, as expanded for the release at the policy ref
	Lock      lock.Lock          // of the release
	Candidate ocispec.Descriptor // of the artifact, in Declared.Repository
	Known     []sign.Bundle      // statements about it, which are not read where they are attached
	Tree      *oci.Tree          // the artifact's files
	Stages    map[string]Stage   // other stages, by name: those that [policy.Needs.Stages] names; one without history may be absent
	Files     fs.FS              // of the GitOps repository at the policy ref
	Client    *oci.Client
	Sources   verify.Remotes // opens the source repository
	Now       time.Time
	// Live reads the files of what is live in the stage, where a gate asks for them; nil where nothing is.
	Live func(context.Context) (*oci.Tree, error)
	Run  *Run // nil for a collection by itself
}

// Stage is what is known of another stage, from verified records.
type Stage struct {
	Declared pipeline.Expanded // expanded for the same release
	Artifact digest.Digest     // of the same release in that stage, by a record or the hydrator's signature; "" for none
	Live     []policy.Span     // oldest first
}

// Run is what the collections of one run share, which all read the same files of the GitOps repository.
type Run struct {
	// Decoder decodes objects. Those that several artifacts have are decoded once.
	Decoder *hydrate.Decoder

	mu       sync.Mutex
	policies map[string]*rego.Policies
}

// NewRun begins a run.
func NewRun() *Run {
	return &Run{Decoder: hydrate.NewRecentDecoder(maxKept), policies: map[string]*rego.Policies{}}
}

// Collect reads what the declared gates ask for.
func Collect(ctx context.Context, r Request) (policy.Facts, error) {
	if r.Run == nil {
		r.Run = NewRun()
	}
	c, err := newCollector(r)
	if err != nil {
		return policy.Facts{}, err
	}
	group, tasks := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, task := range c.tasks() {
		group.Go(func() error { return task(tasks) })
	}
	err = group.Wait()
	if err == nil {
		err = c.objects(ctx) // which policies that were just read may name
	}
	if err != nil {
		return policy.Facts{}, fmt.Errorf("evidence for %s/%s: %w", r.Declared.Pipeline, r.Declared.Stage, err)
	}
	return c.facts, nil
}
