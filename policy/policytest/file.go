package policytest

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

// Bounds on one file.
const (
	MaxCases      = 1000
	MaxStatements = 100 // of a case
)

// What a case is about where it does not say so.
const (
	Now    = "2026-01-05T12:00:00Z" // a Monday
	Commit = "1111111111111111111111111111111111111111"
	Image  = "registry.example/app@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	Stage  = "stage"
)

// file is what a test file holds.
type file struct {
	Gates    raw               `yaml:"gates"`
	Waivers  raw               `yaml:"waivers"`
	Pipeline string            `yaml:"pipeline"` // a pipeline file, instead of gates
	Stage    string            `yaml:"stage"`
	Policies map[string]string `yaml:"policies"` // folders to take for bundles in registries, by the argument of their gate
	Cases    []testCase        `yaml:"cases,required"`
}

type testCase struct {
	Name       string                 `yaml:"name,required"`
	Now        string                 `yaml:"now,scalar"`
	Commit     string                 `yaml:"commit,scalar"`
	Image      string                 `yaml:"image"` // REPOSITORY@DIGEST
	Chart      string                 `yaml:"chart"` // VERSION@DIGEST of a packaged chart, instead of commit and image
	Objects    []value                `yaml:"objects"`
	Live       []value                `yaml:"liveObjects"`
	Tree       string                 `yaml:"tree"` // a folder of manifests, instead of objects
	LiveTree   string                 `yaml:"liveTree"`
	Statements []statement            `yaml:"statements"`
	Stays      map[string][]stay      `yaml:"live"` // by stage, oldest first
	Files      []string               `yaml:"files"`
	Source     string                 `yaml:"source"`    // the identity that signed the locked commit
	Approvals  []string               `yaml:"approvals"` // users and teams of the forge that approved the pull request
	Unchanged  bool                   `yaml:"unchanged"`
	Expect     map[string]expectation `yaml:"expect"` // by gate
	Result     string                 `yaml:"result"`
}

// statement is what somebody signed.
type statement struct {
	Type        string            `yaml:"type,required"` // a URI, or approval, waiver, health or rebuilt
	By          string            `yaml:"by,required"`
	On          string            `yaml:"on"`    // artifact, image or stage:NAME
	About       string            `yaml:"about"` // the digest in the statement; the subject's own where absent
	Predicate   value             `yaml:"predicate"`
	Annotations map[string]string `yaml:"annotations"`
}

// stay is a time during which a release was live in a stage.
type stay struct {
	Commit  string `yaml:"commit,scalar"`  // of the release; the case's where absent
	Content string `yaml:"content,scalar"` // any name of what it consisted of; its commit where absent
	From    string `yaml:"from,scalar"`
	Until   string `yaml:"until,scalar"`
}

// expectation is a result, or a map with more.
type expectation struct {
	Result     string `yaml:"result,required"`
	Reason     string `yaml:"reason"` // a part of the reason
	RetryAfter string `yaml:"retryAfter,scalar"`
}

func (e *expectation) DecodeNode(n *strictyaml.Node, partial bool) strictyaml.Problems {
	if n.Kind == strictyaml.Scalar {
		e.Result = n.Value
		return nil
	}
	type plain expectation // without this method
	return strictyaml.Decode(n, (*plain)(e))
}

// suite is a file that can be run.
type suite struct {
	name       string
	doc        *strictyaml.Node
	file       file
	files      fs.FS
	declared   *pipeline.Pipeline // nil where the file has gates of its own
	stage      string
	problems   strictyaml.Problems
	identities identities
}

// parse reads a test file. The error is strictyaml.Problems where it, or the pipeline file that it names, is at fault.
func parse(name string, data []byte, files fs.FS) (*suite, error) {
	doc, problems := strictyaml.Parse(name, data)
	if doc == nil {
		return nil, problems.Err()
	}
	s := &suite{name: name, doc: doc, files: files}
	s.problems = strictyaml.Decode(doc, &s.file)
	if s.problems.Err() != nil {
		return nil, s.problems.Err()
	}
	s.stage = s.file.Stage
	switch own := s.file.Gates.Node != nil || s.file.Waivers.Node != nil; {
	case s.file.Pipeline == "" && s.file.Gates.Node == nil:
		s.problems.Add(doc.Pos, "there is nothing to test: write gates, or pipeline and stage")
	case s.file.Pipeline != "" && own:
		s.problems.Add(doc.At("pipeline").Pos, "gates and waivers are those of the pipeline: write either")
	case s.file.Pipeline != "":
		if err := s.load(); err != nil {
			return nil, err
		}
	case s.stage == "":
		s.stage = Stage
	}
	if len(s.file.Cases) == 0 || len(s.file.Cases) > MaxCases {
		s.problems.Add(doc.At("cases").Pos, "%d cases: from 1 to %d are read", len(s.file.Cases), MaxCases)
	}
	seen := make(map[string]bool)
	for i, c := range s.file.Cases {
		if c.Name == "" || seen[c.Name] {
			s.problems.Add(doc.At("cases", i, "name").Pos, "case name %q is empty or given twice", c.Name)
		}
		seen[c.Name] = true
		if len(c.Statements) > MaxStatements {
			s.problems.Add(doc.At("cases", i, "statements").Pos, "%d statements, at most %d are read", len(c.Statements), MaxStatements)
		}
	}
	return s, s.problems.Err()
}

func (s *suite) load() error {
	at := s.doc.At("pipeline").Pos
	loaded, err := pipeline.Load(s.files, policy.Kinds(), s.file.Pipeline)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.problems.Add(at, "there is no pipeline file %s", s.file.Pipeline)
		return nil
	case err != nil:
		return err
	case len(loaded) != 1:
		s.problems.Add(at, "%d pipeline files match: name one", len(loaded))
		return nil
	}
	s.declared = loaded[0]
	if _, ok := s.declared.Stage(s.stage); !ok {
		s.problems.Add(s.doc.At("stage").Pos, "pipeline %s has no stage %q: it has %s", s.declared.Name, s.stage, strings.Join(s.declared.Order(), ", "))
	}
	return nil
}

// gates are those of one case: they may have placeholders.
func (s *suite) gates(l lock.Lock) ([]pipeline.Gate, pipeline.Waivers, error) {
	if s.declared == nil {
		s.identities = identities{}
		return pipeline.ParseGates(policy.Kinds(), s.doc, s.stage, l, s.files)
	}
	expanded, err := s.declared.Expand(s.stage, l, s.files)
	s.identities = declaredIdentities(expanded.Identities)
	return expanded.Gates, expanded.Waivers, err
}

// check judges what a case expects of gates with these names; without names, of gates that are not known yet.
func (s *suite) check(i int, names []string) {
	c, at := s.file.Cases[i], s.doc.At("cases", i)
	results := []string{string(policy.Pass), string(policy.Fail), string(policy.Pending), string(policy.Waived)}
	if len(c.Expect) == 0 && c.Result == "" {
		s.problems.Add(at.Pos, "case %q expects nothing, and would never fail: write expect or result", c.Name)
	}
	if c.Result != "" && !slices.Contains(results[:3], c.Result) {
		s.problems.Add(at.At("result").Pos, "result: %q is not known: write pass, fail or pending", c.Result)
	}
	for gate, e := range c.Expect {
		if names != nil && !slices.Contains(names, gate) {
			s.problems.Add(at.At("expect", gate).Pos, "there is no gate %q: there are %s", gate, strings.Join(names, ", "))
		}
		if !slices.Contains(results, e.Result) {
			s.problems.Add(at.At("expect", gate).Pos, "expect.%s: %q is not known: write pass, fail, pending or waived", gate, e.Result)
		}
		s.time(e.RetryAfter, "cases", i, "expect", gate, "retryAfter")
	}
}

// time reads the time at path; it returns the zero time for none.
func (s *suite) time(text string, path ...any) time.Time {
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		s.problems.Add(s.doc.At(path...).Pos, "%q is not a time: write one like %s", text, Now)
	}
	return t
}

// lockOf is the lock of a case.
func (s *suite) lockOf(i int) lock.Lock {
	c := s.file.Cases[i]
	if c.Chart != "" {
		return s.chartLock(i)
	}
	commit, image := cmp.Or(c.Commit, Commit), cmp.Or(c.Image, Image)
	ref, pinned, _ := strings.Cut(image, "@")
	l := lock.Lock{
		ReleaseID: "git-" + commit,
		GitCommit: commit,
		Image:     lock.Image{Ref: ref + ":" + commit, Digest: digest.Digest(pinned)},
		Packaging: lock.Packaging{SourceRepo: "https://git.example/app.git", SourcePath: "."},
	}
	if !isCommit(commit) {
		s.problems.Add(s.doc.At("cases", i, "commit").Pos, "commit: %q is not 40 lower-case hex digits", commit)
	}
	if !isDigest(pinned) {
		s.problems.Add(s.doc.At("cases", i, "image").Pos, "image: %q is not written REPOSITORY@sha256:<64 hex>", image)
	}
	return l
}

// chartLock is the lock of a case about a packaged chart.
func (s *suite) chartLock(i int) lock.Lock {
	c, at := s.file.Cases[i], s.doc.At("cases", i, "chart").Pos
	version, archive, _ := strings.Cut(c.Chart, "@")
	if version == "" || !isDigest(archive) {
		s.problems.Add(at, "chart: %q is not written VERSION@sha256:<64 hex>", c.Chart)
		return lock.Lock{}
	}
	if c.Commit != "" || c.Image != "" {
		s.problems.Add(at, "chart: a packaged chart has no commit and no image: remove them, or chart")
	}
	chart := lock.Chart{Repo: "oci://registry.example/charts", Name: "app", Version: version, Digest: digest.Digest(archive)}
	return lock.Lock{ReleaseID: chart.ReleaseID(), Chart: chart, Packaging: lock.Packaging{Kind: lock.Packaged}}
}

func isCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}
