package policytest

import (
	"bytes"
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
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/rego"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// defaultPipeline is the pipeline's name where the file has gates of its own.
const defaultPipeline = "pipeline"

// artifactRepository is where the artifacts of a test would be.
const artifactRepository = "registry.example/manifests"

// artifactOf is the digest of a release's artifact in a stage.
func artifactOf(stage, release string) digest.Digest {
	return digest.FromString("artifact of " + stage + " " + release)
}

// facts makes what the gates of case i are judged by. Problems are added to the suite; the error is any other.
func (s *suite) facts(ctx context.Context, i int, gates []pipeline.Gate, waivers pipeline.Waivers, l lock.Lock) (policy.Facts, error) {
	c := s.file.Cases[i]
	f := policy.Facts{
		Now:       s.time(orDefault(c.Now, Now), "cases", i, "now"),
		Keys:      make(map[string]string),
		Pipeline:  defaultPipeline,
		Stage:     s.stage,
		Release:   l.ReleaseID,
		Commit:    l.GitCommit,
		Artifact:  policy.Subject{Repository: artifactRepository, Digest: artifactOf(s.stage, l.ReleaseID)},
		Image:     policy.Subject{Repository: l.Image.Repository(), Digest: digest.Digest(l.Image.Digest)},
		Stages:    make(map[string]policy.Subject),
		Live:      make(map[string][]policy.Span),
		Health:    make(map[string][]sign.Verified),
		Exists:    make(map[string]bool),
		Policies:  make(map[string]*rego.Policies),
		Unchanged: c.Unchanged,
	}
	if s.declared != nil {
		f.Pipeline = s.declared.Name
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
		f.Keys[name] = key.PublicKey().Fingerprint()
	}
	for j := range c.Statements {
		if err := s.state(ctx, &f, i, j, gates); err != nil {
			return f, err
		}
	}
	return f, errors.Join(s.objects(&f, i), s.policies(&f, gates))
}

// signers are all names that have a key in a case.
func (s *suite) signers(c testCase, gates []pipeline.Gate, waivers pipeline.Waivers) []string {
	names := append(slices.Collect(maps.Keys(s.identities)), waivers.By...)
	if s.declared == nil {
		names = append(names, "promoter")
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
		commit := orDefault(stay.Commit, l.GitCommit)
		if !isCommit(commit) {
			s.problems.Add(s.doc.At(append(at, "commit")...).Pos, "commit: %q is not 40 lower-case hex digits", commit)
		}
		if stay.From == "" {
			s.problems.Add(s.doc.At(at...).Pos, "from is missing: since when was it live?")
		}
		release := "git-" + commit
		spans = append(spans, policy.Span{
			Release: release,
			Digest:  artifactOf(stage, release),
			Content: digest.FromString(orDefault(stay.Content, commit)),
			From:    s.time(stay.From, append(at, "from")...),
			Until:   s.time(stay.Until, append(at, "until")...),
			Claimed: true,
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
	subject, stage := &f.Artifact, s.stage
	on, known := pipeline.ParseSubject(orDefault(st.On, string(pipeline.SubjectArtifact)))
	if !known {
		s.problems.Add(at.At("on").Pos, "on: %q is not known: write artifact, image or stage:NAME", st.On)
		return nil
	}
	if on == pipeline.SubjectImage {
		subject = &f.Image
	}
	other, ofOther := on.Stage()
	if ofOther {
		stage = other
		theirs, ok := f.Stages[stage]
		if !ok {
			theirs = policy.Subject{Repository: artifactRepository, Digest: artifactOf(stage, f.Release)}
		}
		subject = &theirs
		defer func() { f.Stages[stage] = theirs }()
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
		stated = make(map[string]any)
	}
	predicateType, annotations := st.Type, st.Annotations
	if kind := ours(st.Type); kind != "" {
		predicateType = kind
		s.complete(f, kind, stage, stated, gates, i, j)
		if annotations == nil {
			annotations = map[string]string{"pipeline": f.Pipeline, "stage": stage, "release": f.Release, "repository": subject.Repository}
		}
	} else if !strings.Contains(st.Type, ":") {
		s.problems.Add(at.At("type").Pos, "type: %q is not a predicate type: write a URI, or approval, waiver or health", st.Type)
	}
	data, err := json.Marshal(stated)
	if err != nil {
		return fmt.Errorf("%s: predicate: %w", at.Pos, err)
	}
	about := digest.Digest(orDefault(st.About, subject.Digest.String()))
	verified, rejected, err := s.identities.prove(ctx, st.By, subject.Digest, sign.Statement{
		Subject:       sign.Subject{Name: subject.Repository, Digest: about, Annotations: annotations},
		PredicateType: predicateType, Predicate: data,
	})
	if err != nil {
		return fmt.Errorf("%s: sign as %s: %w", at.Pos, st.By, err)
	}
	subject.Statements = append(subject.Statements, verified...)
	subject.Rejected = append(subject.Rejected, rejected...)
	if predicateType == predicate.TypeHealth && ofOther {
		f.Health[stage] = append(f.Health[stage], verified...)
	}
	return nil
}

// ours is the predicate type of a short name, or of itself.
func ours(name string) string {
	for short, predicateType := range map[string]string{
		"approval": predicate.TypeApproval,
		"waiver":   predicate.TypeWaiver,
		"health":   predicate.TypeHealth,
	} {
		if name == short || name == predicateType {
			return predicateType
		}
	}
	return ""
}

// complete fills in what an approval, waiver or health attestation says as the command that makes it would.
func (s *suite) complete(f *policy.Facts, predicateType, stage string, stated map[string]any, gates []pipeline.Gate, i, j int) {
	defaults := map[string]any{"pipeline": f.Pipeline, "stage": stage, "release": f.Release, "time": f.Now.Format(time.RFC3339)}
	switch predicateType {
	case predicate.TypeHealth:
		defaults["sources"] = []any{}
	case predicate.TypeWaiver:
		at := slices.Index(policy.GateNames(gates), fmt.Sprint(stated["gate"]))
		if at < 0 {
			s.problems.Add(s.doc.At("cases", i, "statements", j, "predicate", "gate").Pos, "a waiver names one of the gates: %s",
				strings.Join(policy.GateNames(gates), ", "))
			return
		}
		defaults["gateDigest"] = policy.GateDigest(gates[at]).String()
		defaults["reason"], defaults["approver"] = "a test", s.file.Cases[i].Statements[j].By
		defaults["expires"] = f.Now.Add(time.Hour).Format(time.RFC3339)
	}
	for key, value := range defaults {
		if _, given := stated[key]; !given {
			stated[key] = value
		}
	}
}

// objects decodes and compares the objects of case i, as those of artifacts are.
func (s *suite) objects(f *policy.Facts, i int) error {
	c := s.file.Cases[i]
	candidate, ok := s.decode(i, c.Objects, c.Tree, "objects", "tree")
	live, ok2 := s.decode(i, c.Live, c.LiveTree, "liveObjects", "liveTree")
	if !ok || !ok2 {
		return nil
	}
	changes, err := diff.Compare(live, candidate, diff.Options{})
	if err != nil {
		s.unreadable("objects", err, "cases", i)
		return nil
	}
	if err := asJSON(changes, &f.Diff); err != nil {
		return err
	}
	for list, objects := range map[*[]map[string]any][]hydrate.Object{&f.Objects: candidate, &f.LiveObjects: live} {
		for _, o := range objects {
			var content map[string]any
			if err := asJSON(o.Content(), &content); err != nil {
				return err
			}
			*list = append(*list, content)
		}
	}
	return nil
}

func (s *suite) decode(i int, written []value, tree, key, treeKey string) ([]hydrate.Object, bool) {
	if tree != "" {
		folder, err := fs.Sub(s.files, tree)
		var objects []hydrate.Object
		if err == nil {
			objects, err = diff.Read(folder)
		}
		if err != nil {
			s.unreadable(tree, err, "cases", i, treeKey)
			return nil, false
		}
		if len(written) > 0 {
			s.problems.Add(s.doc.At("cases", i, treeKey).Pos, "%s and %s exclude each other: keep one", treeKey, key)
		}
		return objects, true
	}
	var manifests []hydrate.Manifest
	for j, v := range written {
		data, err := json.Marshal(v.any)
		if err != nil {
			s.unreadable(key, err, "cases", i, key, j)
			return nil, false
		}
		manifests = append(manifests, hydrate.Manifest{Source: s.name, Document: j + 1, Data: data})
	}
	objects, err := hydrate.Objects(manifests)
	if err != nil {
		s.unreadable(key, err, "cases", i, key)
		return nil, false
	}
	return objects, true
}

// policies reads the policies that are not loaded with the gates: those of a registry, from the folders that replace them.
func (s *suite) policies(f *policy.Facts, gates []pipeline.Gate) error {
	for i := range gates {
		needs := policy.NeedsOf(gates[i : i+1]).Policies
		if len(needs) == 0 {
			continue
		}
		argument, at := needs[0], s.doc.At("gates", i, "rego").Pos
		folder, given := s.file.Policies[argument]
		if !given {
			folder = argument
		}
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

// asJSON reads into what the JSON form of value gives, integers exact.
func asJSON(value, into any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(into)
}
