package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/rego"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// collector fills facts. Its tasks run at the same time and write to different fields, or to maps under the lock.
type collector struct {
	Request
	needs policy.Needs
	own   *sign.Verifier            // by this stage's identities
	of    map[string]*sign.Verifier // by these and another stage's
	mu    sync.Mutex
	reads map[string]func() ([]sign.Bundle, error) // by reference
	keys  Identities
	facts policy.Facts
}

type task = func(ctx context.Context) error

func newCollector(r Request) (*collector, error) {
	c := &collector{Request: r, needs: policy.NeedsOf(r.Declared.Gates), of: map[string]*sign.Verifier{}, reads: map[string]func() ([]sign.Bundle, error){}}
	own, err := ReadIdentities(r.Files, r.Declared)
	if err != nil {
		return nil, err
	}
	c.keys = own
	if c.own, err = verifier(own); err != nil {
		return nil, err
	}
	all := Identities{}
	for _, name := range slices.Concat(c.needs.Artifacts, c.needs.Health) {
		stage, known := r.Stages[name]
		if !known || c.of[name] != nil {
			continue
		}
		declared, err := ReadIdentities(r.Files, stage.Declared)
		if err != nil {
			return nil, err
		}
		theirs := declared.of(name)
		if c.of[name], err = verifier(own, theirs); err != nil {
			return nil, err
		}
		maps.Copy(all, theirs)
	}
	maps.Copy(all, own) // which keep their names, whatever others are called
	c.facts = policy.Facts{
		Now:        r.Now,
		Identities: map[string]sign.Identity{},
		Pipeline:   r.Declared.Pipeline,
		Stage:      r.Declared.Stage,
		Release:    r.Lock.ReleaseID,
		Commit:     r.Lock.GitCommit,
		Chart:      chartOf(r.Lock),
		Artifact:   policy.Subject{Repository: r.Declared.Repository, Digest: r.Candidate.Digest},
		Stages:     map[string]policy.Subject{},
		Live:       map[string][]policy.Span{},
		Health:     map[string][]sign.Verified{},
		Exists:     map[string]bool{},
		Policies:   map[string]*rego.Policies{},
		Unusable:   map[string]string{},
	}
	for _, image := range r.Lock.Images() {
		c.facts.Images = append(c.facts.Images, policy.LockedImage{
			Name:    cmp.Or(image.Name, policy.ApplicationImage),
			Subject: policy.Subject{Repository: image.Repository(), Digest: image.Digest},
		})
	}
	for name, keys := range all {
		c.facts.Identities[name] = keys[0]
	}
	for _, name := range c.needs.Spans {
		c.facts.Live[name] = r.Stages[name].Live
	}
	return c, nil
}

// tasks returns all reads, each to be done once.
func (c *collector) tasks() []task {
	var tasks []task
	if c.Candidate.Digest != "" && (c.needs.Statements || len(c.Declared.Waivers.By) > 0) { // where nobody may waive, waivers count for nothing
		tasks = append(tasks, func(ctx context.Context) error {
			return c.prove(ctx, &c.facts.Artifact, c.own, pipeline.SubjectArtifact)
		})
	}
	for i := range c.facts.Images {
		if image := &c.facts.Images[i]; c.needs.Covers(image.Name) {
			tasks = append(tasks, func(ctx context.Context) error { return c.image(ctx, &image.Subject) })
		}
	}
	for _, name := range c.needs.Artifacts {
		if c.Stages[name].Artifact != "" {
			tasks = append(tasks, func(ctx context.Context) error { return c.stageArtifact(ctx, name) })
		}
	}
	for _, name := range c.needs.Health {
		for _, artifact := range healthOf(c.Stages[name].Live, c.Lock.ReleaseID) {
			tasks = append(tasks, func(ctx context.Context) error { return c.health(ctx, name, artifact) })
		}
	}
	for _, argument := range c.needs.Policies {
		tasks = append(tasks, func(ctx context.Context) error { return c.policies(ctx, argument) })
	}
	if len(c.needs.Files) > 0 {
		tasks = append(tasks, c.files)
	}
	if c.needs.Source && c.Candidate.Digest != "" {
		tasks = append(tasks, c.source)
	}
	return tasks
}

// prove reads what is attached to a subject in its repository.
func (c *collector) prove(ctx context.Context, s *policy.Subject, verifier *sign.Verifier, about pipeline.Subject) error {
	repository, err := c.Client.Repository(s.Repository)
	if err != nil {
		return err
	}
	return c.proveIn(ctx, repository, s, verifier, about)
}

func (c *collector) proveIn(ctx context.Context, repository *oci.Repository, s *policy.Subject, verifier *sign.Verifier, about pipeline.Subject) error {
	s.Rejected = c.unsupported(about)
	if verifier == nil {
		return nil // nobody is trusted
	}
	bundles, err := c.attached(ctx, repository, s.Digest)
	if err != nil {
		return err
	}
	statements, rejected := verifier.Verify(s.Digest, bundles)
	s.Statements, s.Rejected = statements, append(s.Rejected, rejected...)
	return nil
}

// attached reads the attestations on a digest in both forms, once: one artifact can be the subject of several gates.
func (c *collector) attached(ctx context.Context, repository *oci.Repository, d digest.Digest) ([]sign.Bundle, error) {
	reference := repository.Reference(d.String())
	c.mu.Lock()
	read := c.reads[reference]
	if read == nil {
		read = sync.OnceValues(func() ([]sign.Bundle, error) {
			subject, known := subjectOf(d), []sign.Bundle(nil)
			if d == c.Candidate.Digest {
				subject, known = c.Candidate, c.Known
			}
			bundles, err := sign.FindBeside(ctx, repository, subject, known, c.fingerprints()...)
			if err != nil {
				return nil, err
			}
			older, err := sign.FindEnvelopes(ctx, repository, subject)
			return append(bundles, older...), err
		})
		c.reads[reference] = read
	}
	c.mu.Unlock()
	return read()
}

// fingerprints lists those of whom the facts know, as far as each is one.
func (c *collector) fingerprints() []string {
	var all []string
	for _, id := range c.facts.Identities {
		if key := id.Author().Fingerprint(); key != "" {
			all = append(all, key)
		}
	}
	return all
}

// subjectOf is enough of a descriptor to find what refers to it.
func subjectOf(d digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d}
}

// unsupported returns the reasons why gates about a subject do not see what they ask for: identities that are not supported.
func (c *collector) unsupported(about pipeline.Subject) []sign.Rejected {
	var rejected []sign.Rejected
	for _, g := range c.Declared.Gates {
		signers := g.Condition.Signers()
		if about == "" || signers.About != about {
			continue
		}
		for _, name := range signers.Names {
			id, ok := c.Declared.Identities[name]
			if !ok || id.Issuer != "" || sign.IsFile(id.Key) {
				continue
			}
			r := sign.Rejected{Reason: fmt.Sprintf("identity %s has no key in a file of the GitOps repository: what it signs counts for nothing", name)}
			if !slices.Contains(rejected, r) {
				rejected = append(rejected, r)
			}
		}
	}
	return rejected
}

func (c *collector) image(ctx context.Context, s *policy.Subject) (err error) {
	pinned := s.Repository + "@" + s.Digest.String()
	defer func() {
		if err != nil {
			err = fmt.Errorf("image %s: %w", pinned, err)
		}
	}()
	repository, err := oci.NewImages(c.Client).Repository(pinned)
	if err != nil {
		return err
	}
	if err := c.proveIn(ctx, repository, s, c.own, pipeline.SubjectImage); err != nil || !c.needs.Signatures || c.own == nil {
		return err
	}
	signatures, rejected, err := sign.VerifyImage(ctx, repository, subjectOf(s.Digest), c.own)
	s.Signatures, s.Rejected = signatures, append(s.Rejected, rejected...)
	return err
}

func (c *collector) stageArtifact(ctx context.Context, name string) error {
	stage := c.Stages[name]
	s := policy.Subject{Repository: stage.Declared.Repository, Digest: stage.Artifact}
	if err := c.prove(ctx, &s, c.of[name], pipeline.StageSubject(name)); err != nil {
		return fmt.Errorf("stage %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.Stages[name] = s
	return nil
}

// healthOf returns the artifacts that health can be attested of: those with a content that the release had in the stage, the
// newest last.
func healthOf(spans []policy.Span, release string) []digest.Digest {
	contents := map[digest.Digest]bool{}
	for _, s := range spans {
		if s.Release == release {
			contents[s.Content] = true
		}
	}
	var found []digest.Digest
	for _, s := range slices.Backward(spans) {
		if contents[s.Content] && !slices.Contains(found, s.Digest) && len(found) < MaxHealthArtifacts {
			found = append(found, s.Digest)
		}
	}
	slices.Reverse(found)
	return found
}

func (c *collector) health(ctx context.Context, name string, artifact digest.Digest) error {
	s := policy.Subject{Repository: c.Stages[name].Declared.Repository, Digest: artifact}
	if err := c.prove(ctx, &s, c.of[name], ""); err != nil {
		return fmt.Errorf("health of stage %s: %w", name, err)
	}
	healthy := slices.DeleteFunc(s.Statements, func(v sign.Verified) bool {
		return v.PredicateType() != predicate.TypeHealth
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.Health[name] = append(c.facts.Health[name], healthy...)
	return nil
}

func (c *collector) files(context.Context) error {
	for _, name := range c.needs.Files {
		info, err := fs.Stat(c.Files, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("file %s in the GitOps repository: %w", name, err)
		}
		c.facts.Exists[name] = err == nil && !info.IsDir()
	}
	return nil
}

func (c *collector) policies(ctx context.Context, argument string) error {
	policies, err := c.Run.read(ctx, argument, c.Request)
	unusable := errors.Is(err, rego.ErrUnusable)
	if err != nil && !unusable {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if unusable {
		c.facts.Unusable[argument] = err.Error()
	} else {
		c.facts.Policies[argument] = policies
		c.needs.Seen.Add(policies.Names)
	}
	return nil
}

// read reads and compiles the policies of a rego gate, once. Others who want them wait.
func (r *Run) read(ctx context.Context, argument string, from Request) (*rego.Policies, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if policies := r.policies[argument]; policies != nil {
		return policies, nil
	}
	policies, err := Policies(ctx, argument, from.Files, from.Client)
	if err == nil {
		r.policies[argument] = policies
	}
	return policies, err
}
