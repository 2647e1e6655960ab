package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy/cel"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// subject looks up what an attestation gate is about, and the stage whose artifact it is, where it is another's.
func (f Facts) subject(name string) (s Subject, stage string) {
	if stage, ok := strings.CutPrefix(name, "stage:"); ok {
		return f.Stages[stage], stage
	}
	if name == "image" {
		return f.Image, ""
	}
	return f.Artifact, ""
}

// attestation asks for statements of a type about a digest. Whether their content is good news is for where alone to
// say: without it, a statement that says FAILED counts as one that says PASSED. One that counts is not taken back by another.
func (f Facts) attestation(g pipeline.Attestation) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	var where *cel.Program
	if g.Where != "" {
		var err error
		if where, err = cel.Compile(g.Where, "predicate", "subject"); err != nil {
			return fail("where does not compile: %s", plain(err.Error()))
		}
	}
	maxAge := time.Duration(0)
	if g.MaxAge != "" {
		var err error
		if maxAge, err = time.ParseDuration(g.MaxAge); err != nil || maxAge <= 0 {
			return fail("maxAge: %q is no duration above zero", plain(g.MaxAge))
		}
	}
	about := orDefault(g.Subject, "artifact")
	subject, stage := f.subject(about)
	want := atLeast(g.Count)
	if subject.Digest == "" {
		return fail("this release has no %s that a statement could be about", about)
	}
	trusted := f.signers(g.By, stage)
	var counted tally
	var said remarks
	for _, v := range subject.Statements {
		if v.PredicateType() != g.Type {
			continue
		}
		name, ok := trusted.trusts(v.KeyFingerprint())
		if !ok {
			said.add("one by %s does not count here", stranger(v))
			continue
		}
		who := by(name, v.KeyFingerprint())
		when, err := f.judge(v, subject.Digest, where, maxAge)
		if err != nil {
			said.add("the one by %s does not count: %s", who, err)
			continue
		}
		counted.add(v.KeyFingerprint(), who+when, v.Referrer().String())
	}
	if counted.count() >= want {
		result := pass("%s on the %s by %s", plain(g.Type), about, counted.String())
		result.Evidence = counted.evidence
		return result
	}
	said.keyless(trusted)
	said.rejected(subject)
	return fail("%s: it takes %s of type %s on the %s %s by %s%s%s", sofar(counted, want), count(want, "statement", "statements by distinct keys"),
		plain(g.Type), about, subject.Digest, trusted, condition(g), said)
}

// sofar says how many of how many there are.
func sofar(t tally, want int) string {
	if t.count() == 0 {
		return "none"
	}
	return fmt.Sprintf("%d of %d, by %s", t.count(), want, t.String())
}

func condition(g pipeline.Attestation) string {
	s := ""
	if g.Where != "" {
		s += " where " + plain(g.Where)
	}
	if g.MaxAge != "" {
		s += " not older than " + g.MaxAge
	}
	return s
}

// judge says why a trusted statement does not count, or when it says it was made, where that was asked.
func (f Facts) judge(v sign.Verified, about digest.Digest, where *cel.Program, maxAge time.Duration) (string, error) {
	if v.Digest() != about {
		return "", fmt.Errorf("it is about %s", v.Digest())
	}
	var predicate map[string]any
	decoder := json.NewDecoder(bytes.NewReader(v.Predicate()))
	decoder.UseNumber()
	if err := decoder.Decode(&predicate); err != nil {
		return "", fmt.Errorf("its predicate cannot be read: %s", plain(err.Error()))
	}
	if where != nil {
		annotations := make(map[string]any)
		for key, value := range v.Annotations() {
			annotations[key] = value
		}
		ok, err := where.Eval(map[string]any{
			"predicate": predicate,
			"subject":   map[string]any{"name": v.SubjectName(), "digest": v.Digest().String(), "annotations": annotations},
		})
		switch {
		case err != nil:
			return "", fmt.Errorf("where cannot be told of it: %s", plain(err.Error()))
		case !ok:
			return "", fmt.Errorf("where is false of it")
		}
	}
	if maxAge == 0 {
		return "", nil
	}
	made, err := claimedTime(predicate)
	if err != nil {
		return "", err
	}
	switch age := f.Now.Sub(made); {
	case age < -maxSkew:
		return "", fmt.Errorf("it says that it was made at %s, which is yet to come", at(made))
	case age > maxAge:
		return "", fmt.Errorf("it says that it was made at %s, %s ago", at(made), span(age))
	}
	return ", made at " + at(made) + " by its own account", nil
}

// claimedTime reads from a predicate when it was made. The places are those of SLSA provenance v1 and v0.2, of
// verification summaries, of vulnerability scans and of `cosign attest --type custom`, and the names that predicates of
// one's own mostly have.
func claimedTime(predicate map[string]any) (time.Time, error) {
	for _, path := range [][]string{
		{"time"},
		{"timestamp"},
		{"Timestamp"},
		{"metadata", "timestamp"},
		{"runDetails", "metadata", "finishedOn"},
		{"metadata", "buildFinishedOn"},
		{"timeVerified"},
		{"metadata", "scanFinishedOn"},
	} {
		text, ok := lookUp(predicate, path...).(string)
		if !ok {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return time.Time{}, fmt.Errorf("its %s is no time of RFC 3339: %s", strings.Join(path, "."), plain(text))
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("it does not say when it was made, and maxAge is asked for")
}

// lookUp follows keys into maps; nil where there is nothing.
func lookUp(value any, path ...string) any {
	for _, key := range path {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = m[key]
	}
	return value
}

// approval asks for approvals of this artifact for this pipeline, stage and release.
func (f Facts) approval(g pipeline.Approval) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	want, trusted := atLeast(g.Count), f.signers(g.By, "")
	var counted tally
	var said remarks
	for _, v := range f.Artifact.Statements {
		if v.PredicateType() != predicate.TypeApproval {
			continue
		}
		name, ok := trusted.trusts(v.KeyFingerprint())
		if !ok {
			said.add("one by %s does not count here", stranger(v))
			continue
		}
		who := by(name, v.KeyFingerprint())
		a, err := predicate.Parse[predicate.Approval](v)
		if err == nil {
			err = f.meant(v, a.Claim)
		}
		if err != nil {
			said.add("the one by %s does not count: %s", who, plain(err.Error()))
			continue
		}
		shown := who + " at " + at(a.Time) + " by its own account"
		if a.Comment != "" {
			shown += ": «" + plain(a.Comment) + "»"
		}
		counted.add(v.KeyFingerprint(), shown, v.Referrer().String())
	}
	if counted.count() >= want {
		result := pass("approved by %s", counted.String())
		result.Evidence = counted.evidence
		return result
	}
	said.keyless(trusted)
	said.rejected(f.Artifact)
	return fail("%s: it takes %s of %s for %s by %s%s", sofar(counted, want), count(want, "approval", "approvals by distinct keys"),
		f.Artifact.Digest, f.Stage, trusted, said)
}

// meant tells whether a statement of ours is about this artifact, for this pipeline, stage, release and repository, in
// its predicate and on its subject alike.
func (f Facts) meant(v sign.Verified, said sign.Claim) error {
	if v.Digest() != f.Artifact.Digest {
		return fmt.Errorf("it is about %s", v.Digest())
	}
	want := sign.Claim{Pipeline: f.Pipeline, Stage: f.Stage, Release: f.Release, Repository: f.Artifact.Repository}
	if diff := differences(want, said); diff != "" {
		return fmt.Errorf("it is for %s", diff)
	}
	if diff := differences(want, v.Claim()); diff != "" {
		return fmt.Errorf("its subject is %s", diff)
	}
	return nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
