package policy

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy/rego"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// Results of a gate, beside Pass and Fail.
const (
	Pending Result = "pending" // a clock runs: nobody has to do anything but wait, or attest health meanwhile
	Waived  Result = "waived"  // it did not pass, and was waived
)

// GateResult is how one gate came out.
type GateResult struct {
	Gate       string          `json:"gate"` // see GateNames
	Result     Result          `json:"result"`
	Reason     string          `json:"reason"`               // what decided it; for a denial, what would satisfy it
	RetryAfter *time.Time      `json:"retryAfter,omitempty"` // of a pending gate: when to ask again, where that is known
	Evidence   []digest.Digest `json:"evidence,omitempty"`   // the statements that decided it
	Property   string          `json:"property,omitempty"`   // of SLSA, that passing proves of the artifact: [Reproducible] or [TwoReviewed]
}

// The verified properties of SLSA that gates prove: https://slsa.dev/spec/v1.2/verified-properties
const (
	Reproducible = "SLSA_BUILD_REPRODUCED"          // others than the hydrator rendered it, too, and got the same digest
	TwoReviewed  = "SLSA_SOURCE_TWO_PARTY_REVIEWED" // two people approved the head of the pull request that shows it
)

// reviewParties is how many people have to approve a head for [TwoReviewed].
const reviewParties = 2

// Condition is what a gate asks for, parsed. A kind of gate is a type with these methods and Signers, in a file of its own,
// and a line in [Kinds].
type Condition interface {
	pipeline.Condition
	// Need adds what has to be collected for Judge.
	Need(n *Needs)
	// Judge is the verdict.
	Judge(f Facts) GateResult
}

// Needs is what gates are judged by, beside what is known without asking.
type Needs struct {
	Statements bool     // about the artifact
	Images     []string // names of locked images with statements about them; "" for all
	Signatures bool     // of these images, in the older form
	Spans      []string // stages with what was live there
	Health     []string // those of them whose health is asked for
	Artifacts  []string // stages with statements about the artifact of the same release there
	Files      []string // paths that may exist
	Policies   []string // arguments of rego gates whose policies are not loaded
	Seen       Seen     // of objects
	Source     bool     // who signed the locked commit or chart
	Reviewers  []string // users and teams of the forge whose approvals of the pull request are asked for
	Review     bool     // approvals of the pull request
}

// Seen is what expressions and policies see of objects.
type Seen struct {
	Objects     bool // of the candidate
	LiveObjects bool // of what is live
	Diff        bool // how the candidate's differ from these
}

// Add adds what an expression, or policies, names of the variables that it may read.
func (s *Seen) Add(names func(variable string) bool) {
	s.Objects = s.Objects || names(varObjects)
	s.LiveObjects = s.LiveObjects || names(varLiveObjects)
	s.Diff = s.Diff || names(varDiff)
}

// NeedsOf is what gates need together: every list is sorted, and has nothing twice.
func NeedsOf(gates []pipeline.Gate) Needs {
	var n Needs
	for _, g := range gates {
		c := conditionOf(g)
		c.Need(&n)
		n.Statements = n.Statements || c.Signers().About == pipeline.SubjectArtifact
	}
	for _, list := range []*[]string{&n.Images, &n.Spans, &n.Health, &n.Artifacts, &n.Files, &n.Policies, &n.Reviewers} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return n
}

// Stages are the other stages that anything is needed of, sorted.
func (n Needs) Stages() []string {
	all := slices.Concat(n.Spans, n.Artifacts)
	slices.Sort(all)
	return slices.Compact(all)
}

// conditionOf is a gate's condition as this package has it.
func conditionOf(g pipeline.Gate) Condition {
	if c, ok := g.Condition.(Condition); ok {
		return c
	}
	return unknown{}
}

// unknown is a condition that was made by no kind of this package: it denies.
type unknown struct{}

func (unknown) Signers() pipeline.Signers { return pipeline.Signers{} }
func (unknown) Need(*Needs)               {}
func (unknown) Judge(Facts) GateResult {
	return fail("this version does not know the kind of the gate")
}

// Facts are what gates are judged by: verified, or read at the policy ref. What no gate asks for may be absent.
type Facts struct {
	Now                      time.Time
	Identities               map[string]sign.Identity // by name; STAGE/NAME is another stage's identity NAME; two names may have one key
	Pipeline, Stage, Release string
	Commit                   string // the locked source commit
	Chart                    string // the locked chart in place of a commit, with its version
	Source                   SignedSource
	Review                   Reviewed
	Artifact                 Subject
	Images                   []LockedImage              // all of the lock, the application's first, each in its own repository
	LiveImages               []digest.Digest            // of the lock of what is live
	Stages                   map[string]Subject         // the same release's artifact in other stages
	Live                     map[string][]Span          // by stage: when what was live there, oldest first
	Health                   map[string][]sign.Verified // by stage: health attestations on any artifact of Live
	Exists                   map[string]bool            // by path: the files that file gates ask for
	Objects                  []map[string]any           // of the candidate
	LiveObjects              []map[string]any           // of what is live
	Diff                     any                        // the comparison of both, as JSON would give it
	Applied                  *Applied                   // the same without objects that not everybody applies; nil where everybody applies all
	Policies                 map[string]*rego.Policies  // by the argument of a rego gate: those that were not loaded with it
	Unusable                 map[string]string          // by that argument: why they cannot be used
	Unchanged                bool                       // the content is what is live: time and evidence carry over
	Held                     predicate.Hold             // of the artifact, since a rollback left or skipped it; zero if it need not return
}

// Statements yields all verified statements.
func (f Facts) Statements() iter.Seq[sign.Verified] {
	return func(yield func(sign.Verified) bool) {
		lists := [][]sign.Verified{f.Artifact.Statements}
		for _, image := range f.Images {
			lists = append(lists, image.Statements)
		}
		for _, s := range f.Stages {
			lists = append(lists, s.Statements)
		}
		lists = slices.AppendSeq(lists, maps.Values(f.Health))
		for _, v := range slices.Concat(lists...) {
			if !yield(v) {
				return
			}
		}
	}
}

// Applied is what expressions see of objects without those that some program leaves out of what it applies.
type Applied struct {
	Objects, LiveObjects []map[string]any
	Diff                 any
	Without              string // names those of the candidate, and why, for people
}

// Subject is a digest with everything proven about it, by whichever declared identity.
type Subject struct {
	Repository string
	Digest     digest.Digest
	Statements []sign.Verified
	Signatures []sign.VerifiedImage // the older form
	Rejected   []sign.Rejected
}

// ApplicationImage is the name by which gates select the image of a lock that has no name.
const ApplicationImage = "image"

// LockedImage is an image of the lock with everything proven about it.
type LockedImage struct {
	Name string // in the lock; ApplicationImage for the one without a name
	Subject
}

// Covers reports whether statements about a locked image are needed.
func (n Needs) Covers(image string) bool {
	return slices.Contains(n.Images, "") || slices.Contains(n.Images, image)
}

// eachImage judges all locked images, or those of a name. All must pass.
func (f Facts) eachImage(name string, judge func(Subject) GateResult) GateResult {
	var all GateResult
	for _, image := range f.Images {
		if image.Digest == "" || name != "" && image.Name != name {
			continue
		}
		r := judge(image.Subject)
		switch {
		case all.Result == "" || all.Result == Pass && r.Result != Pass:
			r.Evidence = append(all.Evidence, r.Evidence...)
			all = r
		case r.Result == all.Result:
			all.Reason += "; " + r.Reason
			all.Evidence = append(all.Evidence, r.Evidence...)
		}
	}
	switch {
	case all.Result == "" && name != "":
		return fail("the lock names no image %s", plain(name))
	case all.Result == "":
		return fail("the lock names no image")
	}
	return all
}

// Span is a time during which one content was live in a stage without a break.
type Span struct {
	predicate.Artifact
	From    time.Time
	Until   time.Time // zero: it still is
	Claimed bool      // the times are the promoter's word, signed but not countersigned by anybody
	// Otherwise says why the span is not one of the release's that is judged, though it names it: its content was made from other
	// files than those at the candidate's GitOps commit. "" if it is.
	Otherwise string
}

// GateNames names gates as results do: by the name given, or else by kind, the second of a kind on with its number
// (attestation#2). A gate that is given a name keeps its number, so that those after it keep theirs.
func GateNames(gates []pipeline.Gate) []string {
	seen := make(map[string]int)
	names := make([]string, len(gates))
	for i, g := range gates {
		kind := g.Kind
		seen[kind]++
		switch {
		case g.Name != "":
			names[i] = g.Name
		case seen[kind] == 1:
			names[i] = kind
		default:
			names[i] = fmt.Sprintf("%s#%d", kind, seen[kind])
		}
	}
	return names
}

// GateDigest identifies what a gate asks for: sha256 of the JSON of its expanded declaration, keys sorted, absent
// ones left out. Of files and policies that a gate names it holds the name and not the content.
func GateDigest(g pipeline.Gate) digest.Digest {
	declaration := map[string]any{g.Kind: g.Declared}
	if g.Name != "" {
		declaration["name"] = g.Name
	}
	data, err := json.Marshal(declaration)
	var sorted map[string]any
	if err == nil {
		if err = json.Unmarshal(data, &sorted); err == nil {
			data, err = json.Marshal(sorted)
		}
	}
	if err != nil {
		panic("policy: a gate has no JSON form: " + err.Error()) // strings, numbers and lists of them
	}
	return digest.FromBytes(data)
}

// Gates judges every gate that a stage declares, in that order, whatever comes out of those before. Gates that did not
// pass are waived where waivers lets the signers of a waiver do that.
func Gates(declared []pipeline.Gate, waivers pipeline.Waivers, f Facts) []GateResult {
	names := GateNames(declared)
	results := make([]GateResult, len(declared))
	for i, g := range declared {
		r := f.judge(conditionOf(g))
		r.Gate = names[i]
		results[i] = f.waive(r, GateDigest(g), waivers)
	}
	return results
}

// judge judges a condition about objects twice where not everybody applies all of them, so that it holds for all that deploy: a
// gate that asks for an object is not satisfied by one that is left out, and one that forbids it is not escaped.
func (f Facts) judge(c Condition) GateResult {
	r := c.Judge(f)
	var needs Needs
	c.Need(&needs)
	if r.Result != Pass || needs.Seen == (Seen{}) || f.Applied == nil {
		return r
	}
	f.Objects, f.LiveObjects, f.Diff = f.Applied.Objects, f.Applied.LiveObjects, f.Applied.Diff
	if without := c.Judge(f); without.Result != Pass {
		without.Reason += "; this does not count: " + plain(f.Applied.Without)
		return without
	}
	return r
}

// Outcome is what gates come to together: Fail where one failed, else Pending where one is pending, else Pass. It is
// Pass for no gates: nothing was asked.
func Outcome(results []GateResult) Result {
	outcome := Pass
	for _, r := range results {
		switch r.Result {
		case Pass, Waived:
		case Pending:
			if outcome == Pass {
				outcome = Pending
			}
		default:
			return Fail
		}
	}
	return outcome
}

// Due reports whether a release may be proposed to people, by the results of its gates, the declared ones last: all that programs
// decide passed. What people and the clock decide holds nothing back.
func Due(results []GateResult, declared []pipeline.Gate) bool {
	first := len(results) - len(declared)
	for i, r := range results {
		kind := r.Gate
		if i >= first {
			kind = declared[i-first].Kind
		}
		if r.Result != Pass && r.Result != Waived && kind != GatePullRequest && kind != KindReview && !OfPeople(kind) {
			return false
		}
	}
	return true
}

// OfPeople reports whether people or the clock satisfy gates of a kind, beside the review of a pull request.
func OfPeople(kind string) bool {
	return kind == KindApproval || kind == KindWindow || kind == KindFile
}

func pass(format string, args ...any) GateResult {
	return GateResult{Result: Pass, Reason: fmt.Sprintf(format, args...)}
}

func fail(format string, args ...any) GateResult {
	return GateResult{Result: Fail, Reason: fmt.Sprintf(format, args...)}
}

// pending is for a clock that runs until then; the zero time is one that nobody knows.
func pending(then time.Time, format string, args ...any) GateResult {
	r := GateResult{Result: Pending, Reason: fmt.Sprintf(format, args...)}
	if !then.IsZero() {
		then = then.UTC()
		r.RetryAfter = &then
	}
	return r
}

// carriedOver is the result of gates about time and evidence where the content is live already.
func carriedOver() GateResult { return pass("carries over: the content is what is live already") }

// again returns an error if a person's statement was made before a rollback left the release: it does not let it return.
func (f Facts) again(v sign.Verified, made time.Time) error {
	if f.Held.Voids(v, made) {
		return fmt.Errorf("it was given before the rollback at %s: give it again", at(f.Held.Since))
	}
	return nil
}

// begun returns an error for a time that is yet to come.
func (f Facts) begun(made time.Time) error {
	if made.After(f.Now.Add(maxSkew)) {
		return fmt.Errorf("it says that it was made at %s, which is yet to come", at(made))
	}
	return nil
}
