package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/sides"
	"github.com/lockage/lockage/publish/copies"
	"github.com/lockage/lockage/sign"
)

// copier collects what is copied where.
type copier struct {
	*app
	client  *oci.Client // of repositories that the user names
	release string
	dryRun  bool
	d       *declaration // nil if no pipeline file is here
	to      string       // the destination; "" for the declared copies
	tag     string       // of the copy; "" for those of the source
	order   []string     // destinations
	items   map[string][]copies.Item
}

// destination parses the DESTINATION.
func (c *copier) destination(name string) (err error) {
	var reference string
	if c.to, reference, err = oci.SplitReference(layoutName(name)); err != nil {
		return usageError{err}
	}
	if strings.Contains(reference, ":") {
		return usagef("%s: a copy has the digest of its source: name the repository, or one with a :TAG", name)
	}
	c.tag = reference
	return nil
}

// layoutName completes the name of a tar file to that of the image layout in it.
func layoutName(name string) string {
	file, _, _ := strings.Cut(name, "@")
	if i := strings.LastIndexByte(file, ':'); i > strings.LastIndexByte(file, '/') {
		file = file[:i]
	}
	if strings.HasSuffix(file, ".tar") && !strings.HasPrefix(name, "oci-layout:") {
		return "oci-layout:" + name
	}
	return name
}

// namesStage reports whether a SOURCE is a stage of a pipeline, not a repository.
func namesStage(name string) bool {
	name = layoutName(name)
	if strings.HasPrefix(name, sides.LivePrefix) || strings.HasPrefix(name, sides.CandidatePrefix) {
		return true
	}
	host, _, _ := strings.Cut(name, "/")
	return !strings.ContainsAny(name, ":@") && !strings.Contains(host, ".") && host != "localhost"
}

// declare reads what the policy ref declares. Unless a stage is asked for, a folder without a pipeline file will do.
func (c *copier) declare(ctx context.Context, required bool) error {
	d, err := c.declared(ctx)
	var selected *workspace.SelectionError
	missing := errors.As(err, &selected) || errors.Is(err, workspace.ErrNoPipeline)
	if missing && !required && len(c.files) == 0 && c.policy == "" {
		return nil
	}
	c.d = &d
	for _, p := range d.pipelines {
		for _, stage := range p.Order() {
			if p.Repository(stage) == c.to {
				return usagef("%s is where pipeline %s keeps its artifacts, and promotion moves its tags: `lockage repair` puts back what is lost there", c.to, p.Name)
			}
		}
	}
	return err
}

// add notes an artifact to copy. What is asked for twice is copied once.
func (c *copier) add(to string, i copies.Item) {
	if !slices.Contains(c.order, to) {
		c.order = append(c.order, to)
	}
	items := c.items[to]
	same := func(o copies.Item) bool { return o.Digest == i.Digest && o.From.Name() == i.From.Name() }
	if n := slices.IndexFunc(items, same); n >= 0 {
		items[n].Tags, items[n].Verify = append(items[n].Tags, i.Tags...), append(items[n].Verify, i.Verify...)
		items[n].Source += ", " + i.Source
		return
	}
	c.items[to] = append(items, i)
}

// source adds what a SOURCE names.
func (c *copier) source(ctx context.Context, name string) error {
	if !namesStage(name) {
		return c.repository(ctx, name)
	}
	what, isLive := strings.CutPrefix(name, sides.LivePrefix)
	pipelines, stage, err := verify.Having(c.d.pipelines, strings.TrimPrefix(what, sides.CandidatePrefix))
	switch {
	case err != nil:
		return err
	case len(pipelines) > 1:
		return usagef("%d pipelines have a stage %s: name one as PIPELINE/STAGE", len(pipelines), stage)
	case isLive && c.release != "":
		return usagef("--release selects a candidate: leave it out for %s", name)
	}
	p, found := pipelines[0], false
	if isLive {
		found, err = c.live(ctx, p, stage, c.to)
	} else {
		found, err = c.candidate(ctx, p, stage, c.release, c.to)
	}
	if err == nil && !found {
		err = fmt.Errorf("%s/%s: nothing to copy: %w", p.Name, stage, oci.ErrNotFound)
	}
	return err
}

// all adds what is live, and the candidates, of all stages.
func (c *copier) all(ctx context.Context) error {
	for _, p := range c.d.pipelines {
		for _, stage := range p.Order() {
			to := p.CopiesOf(stage)
			if c.to != "" {
				to = []string{c.to}
			}
			for _, name := range to {
				if _, err := c.live(ctx, p, stage, name); err != nil {
					return fmt.Errorf("%s/%s: %w", p.Name, stage, err)
				}
				if _, err := c.candidate(ctx, p, stage, "", name); err != nil {
					return fmt.Errorf("%s/%s: %w", p.Name, stage, err)
				}
			}
		}
	}
	if len(c.order) == 0 && c.to == "" {
		return usagef("no pipeline file declares copies: name the DESTINATION, or declare it as copies: [HOST/PATH]")
	}
	return nil
}

// live adds what is live in a stage, if anything is.
func (c *copier) live(ctx context.Context, p *pipeline.Pipeline, stage, to string) (found bool, err error) {
	declared, _, err := c.d.expand(p, stage)
	if errors.Is(err, lock.ErrNoRelease) || err == nil && !live.Promotes(declared) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s, err := live.Open(ctx, c.d.files, c.d.policyRef, declared, c.d.client, c.d.workspace.Repository)
	if err != nil {
		return false, err
	}
	state, err := live.Read(ctx, s)
	if err != nil || state.Live == nil {
		return false, err
	}
	i := copies.Item{Source: fmt.Sprintf("live:%s/%s", p.Name, stage), From: s.Artifacts, Digest: state.Live.To.Digest, Tags: []string{stage}}
	return true, c.declaredItem(to, i, p, declared, state.Live.To.Release, pipeline.RolePromoter)
}

// candidate adds the candidate of a release, "" for the current one, in a stage, if it has one.
func (c *copier) candidate(ctx context.Context, p *pipeline.Pipeline, stage, release, to string) (found bool, err error) {
	q := verify.Query{Artifact: p.Name + "/" + stage, Release: release}
	requests, err := verify.Find(ctx, q, []*pipeline.Pipeline{p}, c.d.files, c.d.client, c.d.workspace.Repository)
	if errors.Is(err, lock.ErrNoRelease) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	entry, err := requests[0].Found(ctx)
	if errors.Is(err, oci.ErrNotFound) && release == "" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	declared, _, err := c.d.expand(p, stage)
	if err != nil {
		return false, err
	}
	from, err := c.d.client.Repository(declared.Repository)
	if err != nil {
		return false, err
	}
	i := copies.Item{Source: fmt.Sprintf("%s/%s %s", p.Name, stage, entry.Release), From: from, Digest: entry.Digest, Tags: []string{oci.CandidateTag(stage, entry.Release)}}
	return true, c.declaredItem(to, i, p, declared, entry.Release)
}

// declaredItem adds an artifact of a declared stage, which the hydrator and the identities must have signed.
func (c *copier) declaredItem(to string, i copies.Item, p *pipeline.Pipeline, declared pipeline.Expanded, release string, identities ...string) error {
	keys, err := verify.Identity(c.d.files, declared, append([]string{pipeline.RoleHydrator}, identities...)...)
	if err != nil {
		return err
	}
	i.Keys = keys.Fingerprints()
	i.Verify = []copies.Rule{func(ctx context.Context, at *oci.Repository) (policy.Verdict, error) {
		r := c.d.complete(verify.Request{
			Pipeline: p, Stage: declared.Stage, Repository: at, Reference: i.Digest.String(), Release: release,
			WithoutMirror: true, Identities: identities, // stage branches show newer candidates
		})
		r.Former = func(ctx context.Context, artifact digest.Digest) ([]sign.Claim, error) {
			return c.d.former(ctx, r, artifact)
		}
		report, err := verify.Artifact(ctx, r)
		return report.Checks, err
	}}
	c.add(to, i)
	return nil
}

// repository adds an artifact by its reference, or all artifacts of a repository that have a tag.
func (c *copier) repository(ctx context.Context, reference string) error {
	name, tagOrDigest, err := oci.SplitReference(layoutName(reference))
	if err != nil {
		return usageError{err}
	}
	if name == c.to {
		return usagef("%s is both source and destination", name)
	}
	from, err := c.client.Repository(name)
	if err != nil {
		return usageError{err}
	}
	if tagOrDigest != "" {
		manifest, err := from.ReadArtifact(ctx, tagOrDigest)
		if err != nil {
			return err
		}
		return c.artifact(ctx, reference, from, manifest, tagOrDigest)
	}
	tags, err := from.Tags(ctx, "")
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if !stageTag.MatchString(tag) {
			continue
		}
		desc, raw, err := from.Manifest(ctx, tag)
		if err != nil {
			return err
		}
		if manifest, err := oci.ParseManifest(desc, raw); err == nil && manifest.Annotations[oci.AnnotationStage] == oci.StageOfTag(tag) {
			if err := c.artifact(ctx, from.Reference(tag), from, manifest, tag); err != nil {
				return err
			}
		}
	}
	if len(c.items[c.to]) == 0 {
		return fmt.Errorf("%s: it does not exist, or no tag there names an artifact of lockage: %w", name, oci.ErrNotFound)
	}
	return nil
}

// stageTag matches the tags that a stage may have.
var stageTag = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,35}(\.|$)`)

// artifact adds an artifact that was read. If a pipeline here has the stage that it says it is of, it must be what it says.
func (c *copier) artifact(ctx context.Context, source string, from *oci.Repository, m oci.Manifest, tagOrDigest string) error {
	i := copies.Item{Source: source, From: from, Digest: m.Descriptor.Digest}
	if !strings.Contains(tagOrDigest, ":") {
		i.Tags = []string{tagOrDigest}
	}
	stage, release := m.Annotations[oci.AnnotationStage], m.Annotations[oci.AnnotationRelease]
	if c.d != nil {
		for _, p := range c.d.pipelines {
			if _, ok := p.Stage(stage); !ok || p.Name != m.Annotations[oci.AnnotationPipeline] {
				continue
			}
			declared, _, err := c.d.expand(p, stage)
			if err != nil {
				return err
			}
			var identities []string
			if tagOrDigest == stage && live.Promotes(declared) {
				identities = []string{pipeline.RolePromoter}
			}
			return c.declaredItem(c.to, i, p, declared, release, identities...)
		}
	}
	c.add(c.to, i)
	return nil
}
