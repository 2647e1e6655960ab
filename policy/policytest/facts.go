package policytest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/rego"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// defaultPipeline is the pipeline's name where the file has gates of its own.
const defaultPipeline = "pipeline"

// artifactRepository is where the artifacts of a test would be.
const artifactRepository = "registry.example/manifests"

// pullHead is the head of the pull request.
const pullHead = "cccccccccccccccccccccccccccccccccccccccc"

// artifactOf is the digest of a release's artifact in a stage.
func artifactOf(stage, release string) digest.Digest {
	return digest.FromString("artifact of " + stage + " " + release)
}

// facts makes what the gates of case i are judged by. Problems are added to the suite; the error is any other.
func (s *suite) facts(ctx context.Context, i int, gates []pipeline.Gate, waivers pipeline.Waivers, l lock.Lock) (policy.Facts, error) {
	c := s.file.Cases[i]
	f := policy.Facts{
		Now:        s.time(cmp.Or(c.Now, Now), "cases", i, "now"),
		Identities: make(map[string]sign.Identity),
		Pipeline:   defaultPipeline,
		Stage:      s.stage,
		Release:    l.ReleaseID,
		Commit:     l.GitCommit,
		Artifact:   policy.Subject{Repository: artifactRepository, Digest: artifactOf(s.stage, l.ReleaseID)},
		Stages:     make(map[string]policy.Subject),
		Live:       make(map[string][]policy.Span),
		Health:     make(map[string][]sign.Verified),
		Exists:     make(map[string]bool),
		Policies:   make(map[string]*rego.Policies),
		Unchanged:  c.Unchanged,
	}
	if s.declared != nil {
		f.Pipeline = s.declared.Name
	}
	if l.Image.Digest != "" {
		f.Images = []policy.LockedImage{{Name: policy.ApplicationImage, Subject: policy.Subject{Repository: l.Image.Repository(), Digest: l.Image.Digest}}}
	}
	if c.Unchanged && l.Image.Digest != "" {
		f.LiveImages = []digest.Digest{l.Image.Digest}
	}
	for _, name := range c.Files {
		f.Exists[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stays)) {
		f.Live[name] = s.stays(i, name, l)
		f.Stages[name] = policy.Subject{Repository: artifactRepository, Digest: artifactOf(name, l.ReleaseID)}
	}
	for _, name := range s.signers(c, gates, waivers) {
		key, err := s.identities.key(name)
		if err != nil {
			return f, err
		}
		f.Identities[name] = key.Identity()
	}
	if f.Source.Unsigned = "the case has no source"; c.Source != "" {
		if _, ok := s.identities[c.Source]; s.declared != nil && !ok {
			s.problems.Add(s.doc.At("cases", i, "source").Pos, "identity %q is not declared in %s", c.Source, s.declared.File)
		}
		who := f.Identities[c.Source].Author()
		f.Source = policy.SignedSource{By: who, Signers: map[string]sign.Author{c.Source: who}}
	}
	f.Review = policy.Reviewed{Pull: policy.Pull{State: policy.PullOpen, URL: "https://forge.example/pulls/1"}, Commit: pullHead}
	for _, name := range c.Approvals {
		f.Review.Approvals = append(f.Review.Approvals, policy.PullApproval{User: name, Commit: pullHead, Time: f.Now})
	}
	for j := range c.Statements {
		if err := s.state(ctx, &f, i, j, gates); err != nil {
			return f, err
		}
	}
	candidate, live := s.objects(i, c.Objects, c.Tree, "objects", "tree"), s.objects(i, c.Live, c.LiveTree, "liveObjects", "liveTree")
	if err := evidence.AddObjects(&f, candidate, live); err != nil {
		s.problems.Add(s.doc.At("cases", i).Pos, "objects cannot be read: %v", err)
	}
	return f, s.policies(&f, gates)
}

// signers are all names that have a key in a case.
func (s *suite) signers(c testCase, gates []pipeline.Gate, waivers pipeline.Waivers) []string {
	names := append(slices.Collect(maps.Keys(s.identities)), waivers.By...)
	if s.declared == nil {
		names = append(names, "promoter", c.Source)
		for _, g := range gates {
			names = append(names, g.Condition.Signers().Names...)
		}
		for _, st := range c.Statements {
			names = append(names, st.By)
		}
	}
	return names
}

func (s *suite) stays(i int, stage string, l lock.Lock) []policy.Span {
	var spans []policy.Span
	for j, stay := range s.file.Cases[i].Stays[stage] {
		at := []any{"cases", i, "live", stage, j}
		release, content := l.ReleaseID, cmp.Or(stay.Content, l.Revision())
		if commit := stay.Commit; commit != "" {
			release, content = "git-"+commit, cmp.Or(stay.Content, commit)
		}
		if stay.Commit != "" && !isCommit(stay.Commit) {
			s.problems.Add(s.doc.At(append(at, "commit")...).Pos, "commit: %q is not 40 lower-case hex digits", stay.Commit)
		}
		if stay.From == "" {
			s.problems.Add(s.doc.At(at...).Pos, "from is missing: since when was it live?")
		}
		spans = append(spans, policy.Span{
			Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Digest: artifactOf(stage, release), Content: digest.FromString(content)}},
			From:     s.time(stay.From, append(at, "from")...),
			Until:    s.time(stay.Until, append(at, "until")...),
			Claimed:  true,
		})
	}
	return spans
}

// state signs statement j of case i and puts it where it belongs.
func (s *suite) state(ctx context.Context, f *policy.Facts, i, j int, gates []pipeline.Gate) error {
	st := s.file.Cases[i].Statements[j]
	at := s.doc.At("cases", i, "statements", j)
	if _, ok := s.identities[st.By]; s.declared != nil && !ok {
		s.problems.Add(at.At("by").Pos, "identity %q is not declared in %s", st.By, s.declared.File)
	}
	on, known := pipeline.ParseSubject(cmp.Or(st.On, string(pipeline.SubjectArtifact)))
	if !known {
		s.problems.Add(at.At("on").Pos, "on: %q is not known: write artifact, image or stage:NAME", st.On)
		return nil
	}
	if st.About != "" && !isDigest(st.About) {
		s.problems.Add(at.At("about").Pos, "about: %q is not a digest: write sha256:<64 hex>", st.About)
		return nil
	}
	stated, ok := st.Predicate.any.(map[string]any)
	if !ok {
		if st.Predicate.any != nil {
			s.problems.Add(at.At("predicate").Pos, "predicate: expected a map")
		}
		stated = map[string]any{}
	}
	stage, subject := s.subject(*f, on)
	signed := sign.Statement{
		Subject:       sign.Subject{Name: subject.Repository, Digest: digest.Digest(cmp.Or(st.About, subject.Digest.String())), Annotations: st.Annotations},
		PredicateType: cmp.Or(shortTypes[st.Type], st.Type),
	}
	switch t := signed.PredicateType; {
	case t == predicate.TypeApproval || t == predicate.TypeWaiver || t == predicate.TypeHealth || t == predicate.TypeRebuilt:
		stated = s.complete(*f, signed.PredicateType, stage, stated, gates, i, j)
		if st.Annotations == nil {
			signed.Subject.Annotations = map[string]string{"pipeline": f.Pipeline, "stage": stage, "release": f.Release, "repository": subject.Repository}
		}
	case !strings.Contains(st.Type, ":"):
		s.problems.Add(at.At("type").Pos, "type: %q is not a predicate type: write a URI, or approval, waiver, health or rebuilt", st.Type)
	}
	var err error
	if signed.Predicate, err = json.Marshal(stated); err != nil {
		return fmt.Errorf("%s: predicate: %w", at.Pos, err)
	}
	verified, rejected, err := s.identities.prove(ctx, st.By, subject.Digest, signed)
	if err != nil {
		return fmt.Errorf("%s: sign as %s: %w", at.Pos, st.By, err)
	}
	subject.Statements = append(subject.Statements, verified...)
	subject.Rejected = append(subject.Rejected, rejected...)
	switch on {
	case pipeline.SubjectImage:
		f.Images[0].Subject = subject
	case pipeline.SubjectArtifact:
		f.Artifact = subject
	default:
		f.Stages[stage] = subject
		if signed.PredicateType == predicate.TypeHealth {
			f.Health[stage] = append(f.Health[stage], verified...)
		}
	}
	return nil
}

// subject returns what a statement is about, and the stage that it belongs to.
func (s *suite) subject(f policy.Facts, on pipeline.Subject) (stage string, subject policy.Subject) {
	stage, ofOther := on.Stage()
	switch {
	case ofOther:
		if known, ok := f.Stages[stage]; ok {
			return stage, known
		}
		return stage, policy.Subject{Repository: artifactRepository, Digest: artifactOf(stage, f.Release)}
	case on == pipeline.SubjectImage:
		return s.stage, f.Images[0].Subject
	}
	return s.stage, f.Artifact
}

// shortTypes are the short names of our predicate types.
var shortTypes = map[string]string{"approval": predicate.TypeApproval, "waiver": predicate.TypeWaiver, "health": predicate.TypeHealth, "rebuilt": predicate.TypeRebuilt}

// complete adds to an approval, waiver, health attestation or rebuild what the command that makes it would fill in.
func (s *suite) complete(f policy.Facts, predicateType, stage string, stated map[string]any, gates []pipeline.Gate, i, j int) map[string]any {
	all := map[string]any{"pipeline": f.Pipeline, "stage": stage, "release": f.Release, "time": f.Now.Format(time.RFC3339)}
	switch predicateType {
	case predicate.TypeHealth:
		all["sources"] = []any{}
	case predicate.TypeWaiver:
		names := policy.GateNames(gates)
		at := slices.Index(names, fmt.Sprint(stated["gate"]))
		if at < 0 {
			s.problems.Add(s.doc.At("cases", i, "statements", j, "predicate", "gate").Pos, "a waiver names one of the gates: %s", strings.Join(names, ", "))
			break
		}
		all["gateDigest"] = policy.GateDigest(gates[at]).String()
		all["reason"], all["approver"] = "a test", s.file.Cases[i].Statements[j].By
		all["expires"] = f.Now.Add(time.Hour).Format(time.RFC3339)
	}
	maps.Copy(all, stated)
	return all
}

// objects reads the objects of case i from a folder or as they are written.
func (s *suite) objects(i int, written []value, tree, key, treeKey string) []hydrate.Object {
	var objects []hydrate.Object
	var err error
	at := s.doc.At("cases", i, key).Pos
	if tree != "" {
		at = s.doc.At("cases", i, treeKey).Pos
		if len(written) > 0 {
			s.problems.Add(at, "%s and %s exclude each other: keep one", treeKey, key)
		}
		key = tree
		var folder fs.FS
		if folder, err = fs.Sub(s.files, tree); err == nil {
			objects, err = diff.Read(folder)
		}
	} else {
		manifests := make([]hydrate.Manifest, len(written))
		for j, v := range written {
			var data []byte
			if data, err = json.Marshal(v.any); err != nil {
				break
			}
			manifests[j] = hydrate.Manifest{Source: s.name, Document: j + 1, Data: data}
		}
		if err == nil {
			objects, err = hydrate.Objects(manifests)
		}
	}
	if err != nil {
		s.problems.Add(at, "%s cannot be read: %v", key, err)
	}
	return objects
}

// policies reads the policies that are not loaded with the gates: those of a registry, from the folders that replace them.
func (s *suite) policies(f *policy.Facts, gates []pipeline.Gate) error {
	for i := range gates {
		needs := policy.NeedsOf(gates[i : i+1]).Policies
		if len(needs) == 0 {
			continue
		}
		argument, at := needs[0], s.doc.At("gates", i, "rego").Pos
		folder := cmp.Or(s.file.Policies[argument], argument)
		if strings.HasPrefix(folder, "oci://") {
			s.problems.Add(at, "%s: tests read no registry: name a folder for it under policies", argument)
			continue
		}
		policies, err := rego.Load(s.files, folder)
		if errors.Is(err, rego.ErrUnusable) {
			s.problems.Add(at, "rego %v", err)
			continue
		}
		if err != nil {
			return err
		}
		f.Policies[argument] = policies
	}
	return nil
}
