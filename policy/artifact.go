package policy

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// Names of what a provenance says was read.
const (
	DependencySource = "source" // the source repository, at the locked commit, or the locked packaged chart
	DependencyGitOps = "gitops" // the GitOps repository, at the commit that was hydrated
	DependencyPolicy = "policy" // the GitOps repository, at the policy ref's tip then, whose first-parent line held that commit
)

// Expectation is what an artifact must be: what was asked for, and what the lock on the policy ref says.
type Expectation struct {
	Claim  sign.Claim
	Source string                   // the locked source commit, 40 hex digits, or the digest of the locked chart, sha256:<64 hex>
	Lock   digest.Digest            // of what the lock means
	Images map[digest.Digest]string // digest to repository, of every locked image
}

// Evidence is what was found at an artifact's digest.
type Evidence struct {
	oci.Digests                   // Content is computed from the bytes in the registry
	Annotations map[string]string // of its manifest
	DiffID      digest.Digest     // of its layer, as its config says
	Hydration
}

// Hydration is the part of the evidence that the hydrator signed.
type Hydration struct {
	Statements  []sign.Verified // by the hydrator's identity; nobody else's
	Rejected    []sign.Rejected // what else was found there, with the reason why it counts for nothing
	PolicyRef   string          // its name, for reasons
	OnPolicyRef map[string]bool // for every GitOps commit that a provenance names: does the policy ref contain it, and the tip then?
}

// Artifact judges whether an artifact is what e says: signed as such by the hydrator, made from the locked commit and
// images under a policy that was trusted, and unaltered.
func Artifact(e Expectation, ev Evidence) Verdict {
	return append(Hydrated(e, ev.Hydration), annotations(e, ev), content(ev))
}

// Hydrated judges the hydrator's statements alone, without the artifact's bytes.
func Hydrated(e Expectation, h Hydration) Verdict {
	return append(Verdict{signature(e, h)}, provenance(e, h)...)
}

func signature(e Expectation, h Hydration) Check {
	return signedBy("signature", "the hydrator", e.Claim, h.Statements, h.Rejected)
}

// SignedBy judges whether an identity, whose proven statements about an artifact are given, signed it as what the claim says. A
// signature for another stage or repository says nothing here, and neither does any other statement.
func SignedBy(name string, claim sign.Claim, statements []sign.Verified, rejected []sign.Rejected) Check {
	return signedBy("identity "+name, name, claim, statements, rejected)
}

func signedBy(check, who string, want sign.Claim, statements []sign.Verified, rejected []sign.Rejected) Check {
	reason := "no signature by " + who
	if len(rejected) > 0 {
		reason += "; " + rejected[0].Reason
	}
	for _, s := range statements {
		if s.PredicateType() != sign.PredicateSignature {
			continue
		}
		diff := differences(want, s.Claim())
		if diff == "" && s.SubjectName() == want.Repository {
			return Check{check, Pass, "signed by " + who + ", " + as(s.Author())}
		}
		reason = fmt.Sprintf("signed by %s, but for another purpose: %s", who, cmp.Or(diff, "its subject is "+s.SubjectName()))
	}
	return Check{check, Fail, reason}
}

// provenance makes the checks that rest on SLSA provenance. One and the same statement must pass them all: of several,
// the one that comes furthest is reported.
func provenance(e Expectation, h Hydration) Verdict {
	best := Verdict{{"provenance", Fail, "no provenance by the hydrator"}}
	for _, s := range h.Statements {
		if s.PredicateType() != sign.PredicateProvenance {
			continue
		}
		v := judgeProvenance(e, h, s)
		if v.Result() == Pass {
			return v
		}
		if passed(v) >= passed(best) {
			best = v
		}
	}
	return best
}

func judgeProvenance(e Expectation, h Hydration, s sign.Verified) Verdict {
	p, err := s.Provenance()
	if err != nil {
		return Verdict{{"provenance", Fail, err.Error()}}
	}
	diff := differences(e.Claim, p.Claim)
	source, commit := p.Revision(DependencySource), p.Commit(DependencyGitOps)
	off := fmt.Sprintf("made from GitOps commit %s, which is not on %s", orNone(commit), h.PolicyRef)
	if tip := p.Commit(DependencyPolicy); tip != commit {
		off = fmt.Sprintf("made from GitOps commit %s when %s was at %s: not both of them are on it now", orNone(commit), h.PolicyRef, orNone(tip))
	}
	return Verdict{
		check("provenance", diff == "", "by the hydrator, "+as(s.Author()), "for another purpose: "+diff),
		check("source", e.Source != "" && source == e.Source,
			"made from the locked "+sourceName(e.Source),
			fmt.Sprintf("made from %s, the lock says %s", sourceName(source), orNone(e.Source))),
		images(e, p),
		check("lock", e.Lock != "" && p.Meaning == e.Lock,
			"made from the lock that is on "+h.PolicyRef,
			fmt.Sprintf("made from another lock than %s has of this release: it was rewritten after hydration, with other content than createdAt; hydrate again",
				h.PolicyRef)),
		check("policy-ref", commit != "" && h.OnPolicyRef[commit],
			fmt.Sprintf("made from GitOps commit %s, which is on %s", commit, h.PolicyRef),
			off),
	}
}

// sourceName names a source commit or a packaged chart for people.
func sourceName(revision string) string {
	if strings.Contains(revision, ":") {
		return "chart " + revision
	}
	return "commit " + orNone(revision)
}

func images(e Expectation, p sign.Provenance) Check {
	named := make(map[string]bool)
	for _, d := range p.Dependencies {
		if strings.HasPrefix(d.URI, "oci://") {
			named[d.Digest[digest.SHA256.String()]] = true
		}
	}
	for d, repository := range e.Images {
		if !named[d.Encoded()] {
			return Check{"image", Fail, fmt.Sprintf("the provenance does not name the locked image %s@%s", repository, d)}
		}
	}
	if len(e.Images) == 0 {
		return Check{"image", Pass, "the lock names no image"}
	}
	return Check{"image", Pass, "made for the locked image"}
}

func annotations(e Expectation, ev Evidence) Check {
	for _, want := range []struct{ key, value string }{
		{oci.AnnotationPipeline, e.Claim.Pipeline},
		{oci.AnnotationStage, e.Claim.Stage},
		{oci.AnnotationRelease, e.Claim.Release},
		{oci.AnnotationContentDigest, ev.Content.String()},
		{"org.opencontainers.image.revision", oci.Revision(e.Source)},
	} {
		if got := ev.Annotations[want.key]; got != want.value {
			return Check{"annotations", Fail, fmt.Sprintf("%s is %q, expected %q", want.key, got, want.value)}
		}
	}
	return Check{"annotations", Pass, "the manifest's annotations agree with what was verified"}
}

func content(ev Evidence) Check {
	return check("content", ev.Content != "" && ev.Content == ev.DiffID,
		fmt.Sprintf("the layer's files have the digest %s", ev.Content),
		fmt.Sprintf("the layer's files have the digest %s, its config says %s", ev.Content, orNone(ev.DiffID.String())))
}

// differences lists how a claim differs from what was asked for; "" if it does not.
func differences(want, got sign.Claim) string {
	var d []string
	for _, f := range []struct{ name, want, got string }{
		{"pipeline", want.Pipeline, got.Pipeline},
		{"stage", want.Stage, got.Stage},
		{"release", want.Release, got.Release},
		{"repository", want.Repository, got.Repository},
	} {
		if f.want == "" || f.got != f.want {
			d = append(d, fmt.Sprintf("%s %q instead of %q", f.name, f.got, f.want))
		}
	}
	return strings.Join(d, ", ")
}

func passed(v Verdict) int {
	n := 0
	for _, c := range v {
		if c.Result == Pass {
			n++
		}
	}
	return n
}

func orNone(s string) string { return cmp.Or(s, "(none)") }

// Shown is what a branch shows of an artifact.
type Shown struct {
	Branch, Path string
	Commit       string // the newest that names the artifact; "" if none does
	Missing      string // why no commit does
	Differences  string // the names of files that are not the artifact's; "" for none
}

// intact reports whether the branch has the artifact's files.
func (s Shown) intact() bool { return s.Commit != "" && s.Differences == "" }

// differs describes what is wrong with the files.
func (s Shown) differs() string {
	return fmt.Sprintf("commit %s of branch %s names the artifact, but its files in %s are others: %s", s.Commit, s.Branch, s.Path, s.Differences)
}

// ShownOn judges whether a branch has the artifact's files. What is reviewed there must be what was signed, and what is live
// there what was promoted. next is what helps.
func ShownOn(name string, s Shown, next string) Check {
	switch {
	case s.Commit == "":
		return Check{name, Fail, s.Missing + "; " + next}
	case !s.intact():
		return Check{name, Fail, s.differs() + "; " + next}
	}
	return Check{name, Pass, fmt.Sprintf("commit %s of branch %s has the same files in %s", s.Commit, s.Branch, s.Path)}
}
