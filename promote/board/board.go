// Package board writes what `lockage status` shows as a static site, for any web server, bucket or folder: the graph of the stages
// with what is live and what comes next, a page for each release with its verdicts, provenance, signatures and history, and a page
// for each change of a stage's objects.
//
// The status of the stages is given, so that the site has the numbers of status -o json, which is in status.json beside it. [Reader]
// adds what explains them: the verdict of a dry run of promote, the newest promotions, what was signed, and what a promotion would
// change. It writes to no repository or registry, and opens no key.
//
// Pages need no network and no server. What they show of manifests, commits and statements is text there, never markup.
package board

import (
	"cmp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
)

// Board is the state of pipelines at one time.
type Board struct {
	PolicyRef string // its name and commit
	Time      time.Time
	Pipelines []*Pipeline
	Status    []byte // the document of status -o json
}

// Pipeline is the state of one pipeline.
type Pipeline struct {
	Name   string
	Notes  []string // about all stages
	Stages []*Stage // in the order of the graph

	releases []*release // that have a page
}

// Stage is the state of one stage: what status shows, and what a [Reader] adds.
type Stage struct {
	Name       string
	After      []string  // the stages before it
	Live       *Artifact // nil for nothing
	Since      time.Time // that the content of Live is live
	Tag        digest.Digest
	Candidate  *Artifact // of the current release; without a digest if it is not hydrated
	Branch     *live.Branch
	Drift      bool
	Unpromoted *Artifact
	Error      string
	Note       string

	verdict    *promote.Result // of a dry run; nil if none was made
	behind     bool            // the release was not live in the stages before
	due        bool            // what its verdict lacks, people and the clock satisfy
	promotions []promotion     // the newest first
	made       map[digest.Digest]proof
	change     *stagediff.Change // from Live to Candidate; nil if they are equal or were not compared
	problems   []string          // what a Reader could not read
}

// Artifact is an artifact of a release.
type Artifact struct {
	Release string
	Digest  digest.Digest
	Input   digest.Digest // of what it was rendered from; "" if that is unknown
}

// release is a release with a page.
type release struct {
	ID   string
	Lock *lock.Lock // nil if the policy ref has none any more
}

// promotion is a promotion of a stage.
type promotion struct {
	live.Promotion
	Since time.Time // that its content is live
}

// proof is what is signed about an artifact, by the identities of today's pipeline file.
type proof struct {
	Provenance *sign.Provenance // the newest by the hydrator; nil for none
	Statements []statement
	Uncounted  int // bundles that none of these identities signed about the artifact
}

// statement is a statement by an identity.
type statement struct {
	Type, By, Key string
	Former        bool // the key was replaced
}

// state is what a stage is at a glance.
type state struct {
	Name, Label string
}

// The states of a stage, those first that people have to look at.
var states = []state{
	{"drifted", "drifted"},
	{"unknown", "unknown"},
	{"denied", "denied"},
	{"waiting", "waiting"},
	{"ready", "can be promoted"},
	{"behind", "after other stages"},
	{"held", "held back"},
	{"empty", "nothing live"},
	{"current", "up to date"},
}

// State returns the name of the stage's state. Drifted and unknown are what status counts so.
func (s *Stage) State() string {
	switch v := s.verdict; {
	case s.Drift:
		return "drifted"
	case s.Error != "", v != nil && v.Action == promote.Failed:
		return "unknown"
	case s.behind:
		return "behind"
	case v != nil && (v.Action == promote.Pending || v.Action == promote.Denied && s.due):
		return "waiting"
	case v != nil && v.Action == promote.Denied:
		return "denied"
	case v != nil && (v.Action == promote.Promoted || v.Action == promote.Noop):
		return "ready"
	case s.Live == nil:
		return "empty"
	case s.Candidate != nil && s.Candidate.Digest != "" && s.Candidate.Digest != s.Live.Digest: // it was rolled back from, say
		return "held"
	}
	return "current"
}

// Next returns the release that may come next: the one that was judged, or else the candidate; nil if that is live.
func (s *Stage) Next() *Artifact {
	next := s.Candidate
	if v := s.verdict; v != nil && v.To != nil {
		next = &Artifact{Release: v.Release, Digest: v.To.Digest}
	}
	if next != nil && s.Live != nil && next.Digest == s.Live.Digest {
		return nil
	}
	return next
}

// Gates returns the gates that prevent a promotion, those that are denied first; only the order of a release that has not come so far.
func (s *Stage) Gates() []policy.GateResult {
	if s.verdict == nil {
		return nil
	}
	var open []policy.GateResult
	for _, c := range s.verdict.Checks {
		if c.Result != policy.Pass {
			open = append(open, policy.GateResult{Gate: c.Check, Result: c.Result, Reason: c.Reason})
		}
	}
	for _, g := range s.verdict.Gates {
		if s.behind && g.Gate == policy.GateOrder {
			return []policy.GateResult{g}
		}
		if g.Result == policy.Fail || g.Result == policy.Pending {
			open = append(open, g)
		}
	}
	slices.SortStableFunc(open, func(a, b policy.GateResult) int {
		denied := func(g policy.GateResult) int {
			if g.Result == policy.Fail {
				return 0
			}
			return 1
		}
		return cmp.Compare(denied(a), denied(b))
	})
	return open
}

// Messages returns what there is to say beside the numbers.
func (s *Stage) Messages() []string {
	messages := []string{s.Note, s.Error}
	if v := s.verdict; v != nil {
		messages = append(messages, v.Notes...)
		if v.Err != nil && v.Action == promote.Failed {
			messages = append(messages, v.Err.Error())
		}
	}
	messages = slices.DeleteFunc(append(messages, s.problems...), func(m string) bool { return m == "" })
	slices.Sort(messages)
	return slices.Compact(messages)
}

// artifacts returns the releases that the stage has or had, the newest first.
func (s *Stage) artifacts() []Artifact {
	var all []Artifact
	for _, a := range []*Artifact{s.Candidate, s.Next(), s.Live} {
		if a != nil && a.Release != "" {
			all = append(all, *a)
		}
	}
	for _, p := range s.promotions {
		if p.To.Release != "" {
			all = append(all, Artifact{Release: p.To.Release, Digest: p.To.Digest})
		}
	}
	return all
}
