// Package rebuild renders an artifact again from what its provenance names, and compares the result with the artifact.
//
// Of the provenance it takes the pipeline file and the GitOps commit, which verification found on the policy ref, and from them
// everything that a hydration reads. It takes nothing from the artifact, neither files nor annotations. The manifest names the digests of
// all bytes, so that an equal manifest is an equal artifact.
//
// What templates generate (keys, certificates) differs in every render. Such fields are excepted if the render here generates them
// too, whatever the provenance says of them, and the result names them.
package rebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

// Rebuilder renders artifacts again. All fields but Charts are required.
type Rebuilder struct {
	Commits   verify.Commits // of the GitOps repository
	Sources   plan.Sources
	Charts    plan.Charts // nil to refuse packaged charts
	Renderers map[lock.Kind]hydrate.Renderer
	Version   string // of lockage
}

// Result is what came of rendering an artifact again.
type Result struct {
	Check    policy.Check
	Commit   string   // of the GitOps repository, that was rendered
	Renderer string   // that rendered here
	Except   []string // fields that are generated anew in every render, such as "Secret web-tls: data.tls.key"
}

// Rebuild renders an artifact that was examined. The error says why it cannot be rendered; a result that differs is a check that
// fails.
func (r Rebuilder) Rebuild(ctx context.Context, e verify.Examined) (Result, error) {
	p, ok := e.Provenance()
	if !ok {
		return Result{Check: failed("no provenance of this artifact was verified: nothing says what to render")}, nil
	}
	result := Result{Commit: p.Commit(policy.DependencyGitOps)}
	d, err := verify.DeclaredAt(ctx, p.Claim, r.Commits, result.Commit, p.File)
	if errors.Is(err, verify.ErrDeclared) {
		result.Check = failed(fmt.Sprintf("the provenance names pipeline file %s at GitOps commit %s: %v", p.File, result.Commit, err))
		return result, nil
	}
	if err != nil {
		return result, err
	}
	release, stage, err := r.plan(ctx, d)
	if err != nil {
		return result, fmt.Errorf("%s cannot be rendered again: %w", e.Report.Reference, err)
	}
	result.Renderer = stage.Renderer
	if reason := misstated(p, d, stage); reason != "" {
		result.Check = failed(reason)
		return result, nil
	}
	rendered, err := stage.Render(ctx)
	if err == nil {
		var packed oci.Artifact
		if packed, err = publish.Pack(stage.Stage, rendered, release.SourceURL, release.Committed); err == nil {
			err = result.compare(e, packed, rendered)
		}
	}
	if err != nil {
		return result, fmt.Errorf("%s cannot be rendered again: %w", e.Report.Reference, err)
	}
	result.Check.Reason = r.versions(p, stage) + result.Check.Reason
	return result, nil
}

func failed(reason string) policy.Check {
	return policy.Check{Check: "rebuild", Result: policy.Fail, Reason: reason}
}

// plan plans the stage, and nothing else, as the GitOps commit declares it.
func (r Rebuilder) plan(ctx context.Context, d verify.Declared) (plan.Release, plan.Stage, error) {
	planned, err := plan.Make(ctx, plan.Request{
		Files: d.Files, Pipelines: []*pipeline.Pipeline{d.Pipeline}, Stages: []string{d.Stage}, Release: d.Lock.ReleaseID,
		Sources: r.Sources, Charts: r.Charts, Renderers: r.Renderers,
	})
	if err != nil {
		return plan.Release{}, plan.Stage{}, err
	}
	if planned[0].Err != nil {
		return plan.Release{}, plan.Stage{}, planned[0].Err
	}
	stage := planned[0].Stages[0]
	return planned[0], stage, stage.Err
}

// misstated describes how the provenance says something else of the inputs than what was planned from it; "" for nothing. Another
// version of a renderer may look for other files.
func misstated(p sign.Provenance, d verify.Declared, stage plan.Stage) string {
	options, values, reads := publish.Inputs(stage)
	switch {
	case p.Meaning != d.Lock.Meaning():
		return fmt.Sprintf("the provenance names another lock than %s has at that GitOps commit", d.Lock.Path)
	case p.Revision(policy.DependencySource) != d.Lock.Revision():
		return "the provenance names another source than the lock"
	case p.Renderer == stage.Renderer && p.Packer == hydrate.Packer() &&
		(!bytes.Equal(options, p.Options) || !slices.Equal(values, p.Values) || !slices.Equal(reads, p.Reads)):
		return "the provenance names other options or files than those that are read"
	}
	return ""
}

// versions names the other programs that made the artifact; "" for none.
func (r Rebuilder) versions(p sign.Provenance, stage plan.Stage) string {
	name := func(version, renderer, packer string) string {
		return fmt.Sprintf("lockage %s with %s, %s", version, renderer, packer)
	}
	made, again := name(p.Version, p.Renderer, p.Packer), name(r.Version, stage.Renderer, hydrate.Packer())
	if made == again {
		return ""
	}
	return fmt.Sprintf("made by %s, rendered again by %s: ", made, again)
}

// compare judges the artifact by the one that was packed here.
func (result *Result) compare(e verify.Examined, packed oci.Artifact, rendered hydrate.Rendering) error {
	from := "rendered again from GitOps commit " + result.Commit
	result.Check = policy.Check{Check: "rebuild", Result: policy.Pass, Reason: from + ": the manifest is equal, byte for byte"}
	if packed.Descriptor.Digest == e.Report.Digest {
		return nil
	}
	manifest, err := oci.ParseManifest(packed.Descriptor, packed.Manifest)
	if err != nil {
		return err
	}
	files, err := differences(e.Tree, rendered, &result.Except)
	if err != nil {
		return err
	}
	facts := differingKeys(e.Manifest.Annotations, manifest.Annotations)
	switch {
	case len(files) > 0:
		result.Check = failed(fmt.Sprintf("%s, it is %s, and its files differ: %s", from, packed.Descriptor.Digest, ledger.Names(files)))
	case len(facts) > 0 || len(result.Except) == 0:
		result.Check = failed(fmt.Sprintf("%s, it is %s, with equal files: the manifests differ in %s", from, packed.Descriptor.Digest,
			strings.Join(append(facts, "their encoding")[:max(len(facts), 1)], ", ")))
	default:
		result.Check.Reason = fmt.Sprintf("%s: it is equal but for what is generated anew in every render: %s", from, strings.Join(result.Except, ", "))
	}
	return nil
}

// differences lists the files in which an artifact differs from a render, and adds to except the fields that are generated.
func differences(artifact fs.FS, rendered hydrate.Rendering, except *[]string) ([]ledger.Difference, error) {
	var found []ledger.Difference
	expected := maps.Collect(rendered.Tree.Files())
	err := fs.WalkDir(artifact, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(artifact, name)
		if err != nil {
			return err
		}
		want, ok := expected[name]
		delete(expected, name)
		switch {
		case !ok:
			found = append(found, ledger.Difference{Kind: "added", Path: name})
		case !bytes.Equal(data, want):
			fields, only := rendered.Generated(want, data)
			if *except = append(*except, fields...); !only {
				found = append(found, ledger.Difference{Kind: "edited", Path: name})
			}
		}
		return nil
	})
	for name := range expected {
		found = append(found, ledger.Difference{Kind: "removed", Path: name})
	}
	slices.SortFunc(found, func(a, b ledger.Difference) int { return strings.Compare(a.Path, b.Path) })
	return found, err
}

// differingKeys lists the annotations that differ, but for the digest of the files.
func differingKeys(a, b map[string]string) []string {
	keys := map[string]string{}
	maps.Copy(keys, a)
	maps.Copy(keys, b)
	delete(keys, oci.AnnotationContentDigest)
	maps.DeleteFunc(keys, func(key, _ string) bool { return a[key] == b[key] })
	return slices.Sorted(maps.Keys(keys))
}
