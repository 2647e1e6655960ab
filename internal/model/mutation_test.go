package model

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// mutation takes a single check out of the program: some test of its package has to fail, or some history. In to, MUTANT is true while it
// is out; "false" and "true" are for a condition that never or always holds then.
type mutation struct{ file, from, to string }

// source returns the code that replaces the check, which is out while on is true.
func (m mutation) source(on string) string {
	switch m.to {
	case "false":
		return "(!" + on + " && (" + m.from + "))"
	case "true":
		return "(" + on + " || (" + m.from + "))"
	}
	return strings.ReplaceAll(m.to, "MUTANT", on)
}

// mutant is a file that is added to each package with mutations. Another file says which one is on.
const mutant = `package %s

import ("os"; "sync")

var mutant = sync.OnceValue(func() string { data, _ := os.ReadFile(%q); return string(data) })
`

// TestMutations builds the program once, with a switch for each mutation, and runs tests with one after the other, which takes hours on
// few processors: LOCKAGE_SOAK=1 does that, with -histories for what no test of its package notices. Without it, it makes sure that the program has the checks that the mutations take out.
func TestMutations(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := mutants{t: t, root: root, dir: dir, on: filepath.Join(dir, "on"), overlay: filepath.Join(dir, "overlay.json"), built: map[string]string{}}
	m.write()
	if os.Getenv("LOCKAGE_SOAK") != "1" || t.Failed() {
		return
	}
	whole := map[string]bool{}
	for i, mutation := range mutations {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			pkg := path.Dir(mutation.file)
			if !whole[pkg] && (m.fails("", pkg) || m.fails("", "internal/model", some(20)...)) {
				t.Fatalf("%s: tests fail with all checks", pkg)
			}
			whole[pkg] = true
			on := fmt.Sprint(i)
			killed := m.fails(on, pkg)
			for user := range strings.SplitSeq(users[mutation.file], ", ") {
				name, tests, _ := strings.Cut(user, " ")
				killed = killed || name != "" && m.fails(on, name, "-test.run", tests)
			}
			if !killed && !m.fails(on, "internal/model", some(*histories)...) {
				t.Errorf("%s: nothing fails without %s", mutation.file, mutation.from)
			}
		})
	}
}

func some(n int) []string {
	return []string{"-test.run", "^TestHistories$", "-histories", fmt.Sprint(n)}
}

// mutants is the program with all mutations.
type mutants struct {
	t                      *testing.T
	root, dir, on, overlay string
	built                  map[string]string // tests, by package
}

// write writes the files that have mutations, and an overlay of go build that puts them in the place of the program's.
func (m *mutants) write() {
	texts := map[string]string{}
	for i, mutation := range mutations {
		file := filepath.Join(m.root, filepath.FromSlash(mutation.file))
		if texts[file] == "" {
			data, err := os.ReadFile(file)
			if err != nil {
				m.t.Fatal(err)
			}
			texts[file] = string(data)
			dir := filepath.Dir(file)
			texts[filepath.Join(dir, "mutant.go")] = fmt.Sprintf(mutant, filepath.Base(dir), m.on)
		}
		if n := strings.Count(texts[file], mutation.from); n != 1 {
			m.t.Errorf("%s has %q %d times", mutation.file, mutation.from, n)
		}
		texts[file] = strings.Replace(texts[file], mutation.from, mutation.source(fmt.Sprintf("(mutant() == \"%d\")", i)), 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		replace[file] = filepath.Join(m.dir, fmt.Sprintf("%d.go", len(replace)))
		m.file(replace[file], text)
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		m.t.Fatal(err)
	}
	m.file(m.overlay, string(data))
}

func (m *mutants) file(name, text string) {
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// fails reports whether a test of a package fails with a mutation, "" for none.
func (m *mutants) fails(on, pkg string, args ...string) bool {
	m.t.Helper()
	dir := filepath.Join(m.root, filepath.FromSlash(pkg))
	if tests, err := filepath.Glob(filepath.Join(dir, "*_test.go")); err != nil || len(tests) == 0 {
		return false
	}
	if m.built[pkg] == "" {
		m.built[pkg] = filepath.Join(m.dir, strings.ReplaceAll(pkg, "/", "-")+".test")
		build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", m.overlay, "-o", m.built[pkg], "./"+pkg)
		build.Dir = m.root
		if out, err := build.CombinedOutput(); err != nil {
			m.t.Fatalf("%v\n%s", err, out)
		}
	}
	m.file(m.on, on)
	cmd := exec.Command(m.built[pkg], append([]string{"-test.failfast"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LOCKAGE_SOAK=") // their short form is what everybody runs
	out, err := cmd.CombinedOutput()
	_, first, failed := strings.Cut(string(out), "--- FAIL: ")
	switch {
	case err == nil:
		return false
	case !failed && !strings.Contains(string(out), "panic: "):
		m.t.Fatalf("%v\n%.4000s", err, out)
	}
	m.t.Logf("%s: %s %.200s", on, pkg, first)
	return true
}

// users are packages whose tests hold the checks of a file, beside those of its own, with a pattern of these tests; none means all.
var users = map[string]string{
	"ledger/hydration.go": "cmd/lockage TestScript/^mirror-taken$",
	"ledger/write.go":     "cmd/lockage TestScript/^mirror-taken$",

	"internal/strictjson/strictjson.go": "sign",

	"oci/errors.go": "cmd/lockage TestScript/^attack-poison$",

	"policy/verify/gives.go": "publish, promote ^TestSoak", // by hydrations that read what their provenance says
	"policy/verify/keys.go":  "cmd/lockage TestScript/^attack-example$",
	"policy/verify/reads.go": "publish",

	"promote/live/clock.go":    "cmd/lockage TestScript/^keyless-clock$",
	"promote/live/former.go":   "promote/repair", // by edits of a pipeline file
	"promote/live/registry.go": "promote/repair",
	"promote/live/write.go":    "promote",

	"sign/predicate/hold.go": "promote",

	"promote/run.go": "cmd/lockage TestScript/^attack-rotation$", // by a policy ref that is set back
}

// mutations are the checks that decide.
var mutations = []mutation{
	{"hydrate/lock/parse.go", "commitOf(l.ReleaseID) != l.GitCommit", "false"},
	{"hydrate/lock/parse.go", "further != \"\" && l.furtherID() != l.ReleaseID", "false"},
	{"hydrate/lock/parse.go", `ok && digest != image.Digest.String()`, "false"},
	{"hydrate/lock/parse.go", "sha256Digest.MatchString(image.Digest.String())", "true"},
	{"hydrate/lock/parse.go", "case names[named.Name]:", "case !MUTANT && names[named.Name]:"},

	{"hydrate/pipeline/pipeline.go", "len(came) > 1 && !slices.Equal(places, theirs)", "false"},
	{"hydrate/pipeline/pipeline.go", "len(came) != len(gone)", "false"},
	{"hydrate/pipeline/pipeline.go", "case !slices.Contains(other.off, s.Name):", "case MUTANT || !slices.Contains(other.off, s.Name):"},

	{"hydrate/lock/read.go", "!bytes.Equal(history.From(sourceRepo).Canonical(), l.From(sourceRepo).Canonical())", "false"},
	{"hydrate/lock/read.go", "!isReleaseID(id)", "false"},
	{"hydrate/lock/read.go", "err == nil && f.ReleaseID != id", "false"},

	{"ledger/candidates.go", "!bytes.Equal(again, data)", "false"},
	{"ledger/candidates.go", "e.Stage != w.Stage || e.Release != w.Release", "false"},
	{"ledger/candidates.go", "len(field) > maxField || terminal.Blank(field) != field", "false"},
	{"ledger/candidates.go", "if err := d.Validate(); err != nil {", "if err := d.Validate(); !MUTANT && err != nil {"},
	{"ledger/candidates.go", "if _, err := git.ParseHash(h); err != nil {", "if _, err := git.ParseHash(h); !MUTANT && err != nil {"},
	{"ledger/candidates.go", "e.Claim == w.Claim", "true"},

	{"ledger/beside.go", "len(field) > maxField || terminal.Blank(field) != field", "false"},

	{"ledger/check.go", "got == content", "true"},
	{"ledger/check.go", `shows.attributes != ""`, "true"},
	{"ledger/check.go", "plain(there)", "true"},
	{"ledger/check.go", "case err == nil:", "case !MUTANT && err == nil:"},
	{"ledger/check.go", "c.remote != remote", "false"},
	{"ledger/check.go", "c.content != content", "false"},
	{"ledger/check.go", "item.ID == resets || item.ID == generates", "true"},
	{"ledger/check.go", "f.attributes != git.BlobID([]byte(c.attributes()))", "false"},
	{"ledger/check.go", "f.metadata == git.BlobID(metadata)", "true"},
	{"ledger/check.go", "m.Lockage == c.facts()", "true"},
	{"ledger/check.go", `f.Files == "" || f.Files != c.Files`, "false"},

	{"ledger/hydration.go", "if stays {", "if !MUTANT && stays {"},
	{"ledger/hydration.go", "p == c.Pipeline || p == c.Promotion.Former", "true"},
	{"ledger/hydration.go", "ours && (m.Lockage.Pipeline != c.Pipeline || m.Lockage.Stage != c.Stage)", "false"},

	{"ledger/proposal.go", "err != nil || !based", "err != nil || !MUTANT && !based"},
	{"ledger/proposal.go", "err != nil || merged", "err != nil || !MUTANT && merged"},
	{"ledger/proposal.go", "then[0] == ids[1]", "true"},
	{"ledger/proposal.go", "!p.Current", "false"},

	{"ledger/write.go", "id == c.Promotion.Expected", "true"},
	{"ledger/write.go", "c.Promotion == nil || c.Promotion.First", "c.Promotion == nil || !MUTANT && c.Promotion.First"},
	{"ledger/write.go", `c.pushed != "" && c.pushed == c.draft.Head()`, "false"},
	{"ledger/write.go", "err != nil || overtaken", "err != nil || !MUTANT && overtaken"},
	{"ledger/write.go", "_, taken := files[name]; taken", "_, taken := files[name]; !MUTANT && taken"},
	{"ledger/write.go", `c.Files != "" && c.Files != id`, "false"},

	{"oci/errors.go", "errors.As(err, &unfit) || errors.Is(err, bounded.ErrTooLarge)", "false"},

	{"policy/approval.go", "if f.Unchanged {", "if MUTANT || f.Unchanged {"},
	{"policy/approval.go", "counted.count() >= g.count", "true"},
	{"policy/approval.go", "v.Digest() != f.Artifact.Digest", "false"},
	{"policy/approval.go", `diff := differences(want, got); diff != ""`, `diff := differences(want, got); !MUTANT && diff != ""`},
	{"policy/approval.go", `diff := differences(want, v.Claim()); diff != ""`, `diff := differences(want, v.Claim()); !MUTANT && diff != ""`},

	{"policy/artifact.go", "s.PredicateType() != sign.PredicateSignature", "false"},
	{"policy/artifact.go", "s.SubjectName() == want.Repository", "true"},
	{"policy/artifact.go", `if diff == "" &&`, `if (MUTANT || diff == "") &&`},
	{"policy/artifact.go", `check("provenance", diff == "",`, `check("provenance", MUTANT || diff == "",`},
	{"policy/artifact.go", `e.Source != "" && source == e.Source`, "true"},
	{"policy/artifact.go", `e.Lock != "" && p.Meaning == e.Lock`, "true"},
	{"policy/artifact.go", `commit != "" && h.OnPolicyRef[commit]`, "true"},
	{"policy/artifact.go", "!named[d.Encoded()]", "false"},
	{"policy/artifact.go", "got != want.value", "false"},
	{"policy/artifact.go", `ev.Content != "" && ev.Content == ev.DiffID`, "true"},
	{"policy/artifact.go", `f.want == "" || f.got != f.want`, "false"},
	{"policy/artifact.go", `case s.Commit == "":`, `case !MUTANT && s.Commit == "":`},
	{"policy/artifact.go", "case !s.intact():", "case !MUTANT && !s.intact():"},

	{"policy/attestation.go", "v.Digest() != about", "false"},
	{"policy/attestation.go", "case !ok:", "case !MUTANT && !ok:"},
	{"policy/attestation.go", "age < -maxSkew", "false"},
	{"policy/attestation.go", "age > g.maxAge", "false"},
	{"policy/attestation.go", "slices.Contains(f.LiveImages, image.Digest)", "true"},
	{"policy/attestation.go", "counted.count() >= g.count", "true"},

	{"policy/file.go", "f.Exists[string(name)]", "true"},

	{"policy/gate.go", "f.Held.Voids(v, made)", "false"},
	{"policy/gate.go", "r.Result != Pass || needs.Seen == (Seen{}) || f.Applied == nil", "true"},
	{"policy/gate.go", "all.Result == Pass && r.Result != Pass", "false"},

	{"policy/image.go", "case v.Digest() != about.Digest || ", "case !MUTANT && v.Digest() != about.Digest || "},
	{"policy/image.go", "v.PredicateType() != sign.PredicateSignature &&", "!MUTANT && v.PredicateType() != sign.PredicateSignature &&"},
	{"policy/image.go", "case !ok:", "case !MUTANT && !ok:"},
	{"policy/image.go", "case names(v, f.Commit):", "case MUTANT || names(v, f.Commit):"},
	{"policy/image.go", "case s.Digest() != about.Digest:", "case !MUTANT && s.Digest() != about.Digest:"},
	{"policy/image.go", "signed.count() == 0", "false"},
	{"policy/image.go", "g.provenance && proven.count() == 0", "false"},
	{"policy/image.go", "case ok:", "case MUTANT || ok:"},

	{"policy/order.go", "case !p.Is && !p.Was:", "case !MUTANT && !p.Is && !p.Was:"},

	{"policy/reproduced.go", "f.Identities[role].Made(v.Author())", "false"},
	{"policy/reproduced.go", "err = f.meant(v, r.Claim)", "if !MUTANT {\n\t\t\t\terr = f.meant(v, r.Claim)\n\t\t\t}"},
	{"policy/reproduced.go", "counted.count() >= g.count", "true"},
	{"policy/reproduced.go", "} else if err == nil {", "} else if err == nil || MUTANT {"},

	{"policy/review.go", `m.Pull.Unknown == "" && m.Pull.State != PullMerged`, "false"},
	{"policy/review.go", `case m.Shown.Commit != "":`, `case !MUTANT && m.Shown.Commit != "":`},
	{"policy/review.go", "p.Commit == \"\" || p.Shown.Commit != p.Commit", "false"},
	{"policy/review.go", "case !p.Shown.intact():", "case !MUTANT && !p.Shown.intact():"},
	{"policy/review.go", "!p.Current && !p.Landed", "false"},
	{"policy/review.go", "case p.Pull.State == PullClosed:", "case !MUTANT && p.Pull.State == PullClosed:"},
	{"policy/review.go", "p.Pull.State == PullMerged && !p.Landed:", "!MUTANT && p.Pull.State == PullMerged && !p.Landed:"},
	{"policy/review.go", "case p.Pull.Head != p.Commit:", "case !MUTANT && p.Pull.Head != p.Commit:"},
	{"policy/review.go", "strings.EqualFold(a.User, p.Pull.Author)", "false"},
	{"policy/review.go", "len(people) >= reviewParties", "true"},
	{"policy/review.go", `case a.Commit != p.Commit:`, `case !MUTANT && a.Commit != p.Commit:`},

	{"policy/reviewers.go", "strings.EqualFold(a.User, f.Review.Pull.Author)", "false"},
	{"policy/reviewers.go", "!g.names(a)", "false"},
	{"policy/reviewers.go", `case a.Commit == "":`, `case !MUTANT && a.Commit == "":`},
	{"policy/reviewers.go", "a.Commit != f.Review.Commit", "false"},
	{"policy/reviewers.go", "a.Time.Before(f.Held.Since)", "false"},
	{"policy/reviewers.go", "counted.count() >= g.count", "true"},
	{"policy/reviewers.go", "counted.count()-signed >= reviewParties", "true"},

	{"policy/signers.go", "v.PredicateType() != predicateType", "false"},
	{"policy/signers.go", "if !ok {", "if !MUTANT && !ok {"},
	{"policy/signers.go", "if err != nil {", "if !MUTANT && err != nil {"},
	{"policy/signers.go", "t.keys[key] = true", "t.keys[key] = true\n\tif MUTANT {\n\t\tt.keys[shown] = true\n\t}"},

	{"policy/soak.go", `s.Release == release && s.Otherwise == ""`, `s.Release == release && (MUTANT || s.Otherwise == "")`},
	{"policy/soak.go", "stayed >= g.want", "true"},
	{"policy/soak.go", `content == "" || r.content() != content`, "false"},
	{"policy/soak.go", "h.Time.After(f.Now.Add(maxSkew))", "false"},
	{"policy/soak.go", "!r.held(v.Digest(), h.Release, when)", "false"},
	{"policy/soak.go", "if !ok {", "if !MUTANT && !ok {"},

	{"policy/source.go", `f.Source.Unsigned != ""`, "false"},
	{"policy/source.go", "f.Source.Signers[name]; ok {", "f.Source.Signers[name]; ok || MUTANT {"},

	{"policy/verify/candidate.go", "Result: policy.Fail}", "Result: map[bool]policy.Result{true: policy.Pass, false: policy.Fail}[MUTANT]}"},
	{"policy/verify/candidate.go", "named == e.Digest", "true"},

	{"policy/evidence/source.go", "s.PredicateType() == sign.PredicateSignature && s.Digest() == desc.Digest", "true"},
	{"policy/evidence/source.go", "!slices.ContainsFunc(manifest.Layers, func(l ocispec.Descriptor) bool { return l.Digest == chart.Digest })", "false"},
	{"policy/verify/entry.go", "stated.Claim != e.Claim", "false"},
	{"policy/verify/entry.go", `e.Image == "" && stated.Dependency(dependencyImage).Name != ""`, "false"},
	{"policy/verify/entry.go", "!maps.Equal(stated.Dependencies[i].Digest, d.Digest)", "false"},
	{"policy/verify/entry.go", "d.Name != dependencyImage && stated.Dependencies[i].URI != d.URI", "false"},
	{"policy/verify/entry.go", "maps.Equal(stated.Byproducts[i].Digest, want.Byproducts[0].Digest)", "true"},
	{"policy/verify/entry.go", "slices.ContainsFunc(h.Statements, func(s sign.Verified) bool { return States(s, e) })", "true"},
	{"policy/verify/entry.go", "if !counts {", "if !MUTANT && !counts {"},
	{"policy/verify/entry.go", "s.Former() && !counted[s.KeyFingerprint()]", "false"},
	{"policy/verify/entry.go", "on && contains", "on && (contains || MUTANT)"},
	{"policy/verify/entry.go", "provenance.Commit(policy.DependencyPolicy)", "map[bool]string{true: commit, false: provenance.Commit(policy.DependencyPolicy)}[MUTANT]"},

	{"policy/verify/gives.go", `chart != ""`, "false"},
	{"policy/verify/gives.go", "if !later {", "if !MUTANT && !later {"},
	{"policy/verify/gives.go", `theirsDiffers == ""`, "true"},
	{"policy/verify/gives.go", `difference != ""`, "false"},
	{"policy/verify/gives.go", "difference == \"\" {\n\t\t\treturn err == nil, err", "MUTANT || difference == \"\" {\n\t\t\treturn err == nil, err"},
	{"policy/verify/gives.go", "h.OnPolicyRef[p.Commit(policy.DependencyGitOps)]", "true"},

	{"policy/verify/keys.go", "if !s.Former() {", "if MUTANT || !s.Former() {"},
	{"policy/verify/keys.go", "!first.Made(s.Author())", "false"},
	{"policy/verify/keys.go", "p.Meaning != d.Lock.Meaning()", "false"},
	{"policy/verify/keys.go", "if !on {", "if !MUTANT && !on {"},
	{"policy/verify/keys.go", "file != k.File", "false"},
	{"policy/verify/keys.go", "_, err = read(ref.Tip(), file)", "if !MUTANT {\n\t\t\t\t_, err = read(ref.Tip(), file)\n\t\t\t}"},

	{"policy/verify/mirror.go", "errors.Is(err, ledger.ErrNotShown)", "false"},

	{"policy/verify/reads.go", "p.Meaning != d.Lock.Meaning()", "false"},
	{"policy/verify/reads.go", "!bytes.Equal(d.Render.Named(d.Lock.Lock), p.Options)", "false"},
	{"policy/verify/reads.go", "NewRead(now) != was", "false"},
	{"policy/verify/reads.go", `p.File == "" || len(p.Options) == 0`, "false"},
	{"policy/verify/reads.go", "!slices.Equal(was, now)", "false"},
	{"policy/verify/reads.go", "!slices.Equal(gone, absent)", "false"},
	{"policy/verify/reads.go", "p.Name != claim.Pipeline || !ok", "false"},

	{"policy/verify/verify.go", "!proven && len(h.Statements) > 0", "false"},
	{"policy/verify/verify.go", "r.Former != nil && !signedBy(claim, ev.Hydration)", "false"},
	{"policy/verify/verify.go", "signedBy(name, then)", "true"},
	{"policy/verify/verify.go", "m.ShowsCandidates() && !r.WithoutMirror", "false"},
	{"policy/verify/verify.go", "e.Entry == nil && r.Statements != nil", "false"},
	{"policy/verify/verify.go", "places[name] == (ledger.Place{})", "true"},

	{"policy/waiver.go", "err != nil || w.Gate != r.Gate", "err != nil || !MUTANT && w.Gate != r.Gate"},
	{"policy/waiver.go", "if !ok {", "if !MUTANT && !ok {"},
	{"policy/waiver.go", "case counted.count() < want:", "case !MUTANT && counted.count() < want:"},
	{"policy/waiver.go", "w.GateDigest != gate", "false"},
	{"policy/waiver.go", "w.Expires.IsZero() || w.Time.IsZero()", "false"},
	{"policy/waiver.go", "!w.Expires.After(f.Now)", "false"},
	{"policy/waiver.go", "w.Time.After(f.Now.Add(maxSkew))", "false"},
	{"policy/waiver.go", "w.Expires.Sub(made) > longest", "false"},
	{"policy/waiver.go", `w.Reason == ""`, "false"},

	{"policy/window.go", "d.first <= today && today <= d.last", "false"},
	{"policy/window.go", "return today && r.from <= minute && minute < r.to", "return MUTANT || today && r.from <= minute && minute < r.to"},
	{"policy/window.go", "len(w.allow) == 0", "true"},

	{"promote/apply.go", "now.Live.To.Digest == to.Digest && now.Unpromoted == nil", "false"},

	{"promote/judge.go", "if err := j.checks.Err(); err != nil {", "if err := j.checks.Err(); !MUTANT && err != nil {"},
	{"promote/judge.go", "current.To.Content == j.artifact.Content", "true"},
	{"promote/judge.go", "len(s.stage.After.Stages) > 0", "false"},

	{"promote/live/claimed.go", "p.Sequence < math.MaxInt32", "true"},

	{"promote/live/registry.go", "tips[branch] == head", "true"},
	{"promote/live/registry.go", "len(sign.SignedBy(artifact, []sign.Bundle{b}, by...)) > 0", "true"},

	{"promote/live/former.go", "len(edits(declared, last.newer)) > 0", "false"},
	{"promote/live/former.go", "!change.Merged || declared.LiveRef()", "MUTANT || !change.Merged || declared.LiveRef()"},
	{"promote/live/former.go", "state.Live == nil || !goesOn", "state.Live == nil || !MUTANT && !goesOn"},
	{"promote/live/former.go", "err != nil && found == nil && newest != nil && ctx.Err() == nil", "false"},
	{"promote/live/former.go", "newest); gone != nil", "newest); !MUTANT && gone != nil"},
	{"promote/live/former.go", "former == nil || found.State.Live.Sequence > former.State.Live.Sequence", "false"},
	{"promote/live/former.go", "change.Merged && ctx.Err() == nil", "false"},
	{"promote/live/former.go", "found == nil || change.Merged, nil", "found == nil || !MUTANT && change.Merged, nil"},

	{"promote/live/live.go", "again.Head != state.Head", "again.Head != state.Head != MUTANT"},
	{"promote/live/live.go", "state.Newest() == nil", "false"},

	{"promote/live/walk.go", "p.Parent != string(v.Parent)", "false"},
	{"promote/live/walk.go", "p.Tree != string(v.Promoted)", "false"},
	{"promote/live/walk.go", "beside != p.Beside", "false"},
	{"promote/live/walk.go", "top.Tree != last.tree", "false"},
	{"promote/live/walk.go", "state.Live == nil && top.Ours", "false"},
	{"promote/live/walk.go", `p.signed.Former() && (c.waiting == "" || c.waiting == p.Key)`, "false"},
	{"promote/live/walk.go", "below != nil && p.Record == below.Record && below.signed.Former()", "false"},
	{"promote/live/walk.go", "err != nil || !counts || !p.signed.Former() || below == nil", "true"},
	{"promote/live/walk.go", "p.Record == c.previous", "true"},
	{"promote/live/walk.go", "if c.live != nil {\n\t\treturn broken", "if !MUTANT && c.live != nil {\n\t\treturn broken"},
	{"promote/live/walk.go", `if c.refused != "" {`, `if !MUTANT && c.refused != "" {`},
	{"promote/live/walk.go", "len(asked) > maxPolicyCommits", "false"},
	{"promote/live/walk.go", "if trusted {", "if !MUTANT && trusted {"},

	{"promote/live/registry.go", "newest == nil && !proven", "(MUTANT || newest == nil) && !proven"},
	{"promote/live/registry.go", "return trusted, err", "return trusted && !MUTANT, err"},
	{"promote/live/registry.go", "r.Claim != claim", "false"},
	{"promote/live/registry.go", `r.Release == "" && r.Subject() != predicate.Nothing`, "false"},
	{"promote/live/registry.go", "return p.Sequence < newest.Sequence, nil", "return MUTANT || p.Sequence < newest.Sequence, nil"},
	{"promote/live/registry.go", "p.Record == newest.Record", "(p.Record == newest.Record || MUTANT && p.Sequence == newest.Sequence)"},
	{"promote/live/registry.go", "!newest.signed.Former()", "true"},
	{"promote/live/registry.go", "return over, err", "return MUTANT || over, err"},
	{"promote/live/registry.go", "return counts, err", "return MUTANT || counts, err"},
	{"promote/live/registry.go", "newest != nil && s.carriedOn(last, bundles)", "false"},

	{"hydrate/workspace/timeline.go", "if older.release == m.release {", "if !MUTANT && older.release == m.release {"},
	{"hydrate/workspace/releases.go", "err == nil && recorded < 0", "false"},

	{"promote/live/clock.go", "now.Sub(at.Time).Abs() > maxSkew", "false"},

	{"promote/live/write.go", "before.Holds.After(action, to)", "map[bool]predicate.Holds{false: before.Holds.After(action, to)}[MUTANT]"},
	{"promote/live/write.go", "rec.Time.Before(before.Time)", "false"},

	{"promote/newest.go", "s.isLive(entry.Digest)", "false"},
	{"promote/newest.go", "if held {\n\t\t\tbreak", "if !MUTANT && held {\n\t\t\tbreak"},
	{"promote/newest.go", "s.state.Holds().Content(h.entry.Content)", "false"},
	{"promote/newest.go", "outcome == nil || j.checks.Result() != policy.Pass", "outcome == nil || !MUTANT && j.checks.Result() != policy.Pass"},
	{"promote/newest.go", "err != nil || id == release {\n\t\t\treturn i, err", "err != nil || !MUTANT && id == release {\n\t\t\treturn i, err"},
	{"promote/newest.go", "if err := j.outcome(); err != nil {", "if err := j.outcome(); !MUTANT && err != nil {"},
	{"promote/newest.go", "r.Ready && s.result.Action == Promoted", "false"},
	{"promote/newest.go", "current != nil && current.To.Content == to.Content", "false"},

	{"promote/other.go", "!h.proven || verdict.Result() != policy.Pass", "false"},
	{"promote/other.go", `e.made.Commit == "" || e.contents[content]`, "true"},
	{"promote/other.go", "if hold, held := e.now.Holds().Of(e.release, \"\"); held {", "if hold, held := e.now.Holds().Of(e.release, \"\"); !MUTANT && held {"},
	{"promote/other.go", "p.To.Release != e.release, held:", "p.To.Release != e.release, !MUTANT && held:"},
	{"promote/other.go", "case e.counts(span.Content)", "case MUTANT || e.counts(span.Content)"},

	{"promote/other.go", "id == release", "true"},

	{"promote/repair/registry.go", "err == nil && packed.Descriptor.Digest == wanted", "err == nil && (MUTANT || packed.Descriptor.Digest == wanted)"},
	{"promote/repair/registry.go", "if pruned, err := s.pruned(ctx, p.To.Digest); err != nil || pruned {", "if pruned, err := s.pruned(ctx, p.To.Digest); err != nil || !MUTANT && pruned {"},

	{"promote/repair/restart.go", "below || p.Record == base.Record", "!MUTANT && below || p.Record == base.Record"},
	{"promote/repair/restart.go", "h.Digest == current.Digest", "false"},

	{"promote/review.go", `trees[0] != "" && trees[0] == trees[1]`, "true"},
	{"promote/review.go", "!s.review.proposal.Current || s.review.proposal.Landed", "false"},

	{"promote/rollback.go", "to.To.Digest == current.To.Digest", "false"},
	{"promote/rollback.go", "if err := j.outcome(); err != nil {", "if err := j.outcome(); !MUTANT && err != nil {"},
	{"promote/rollback.go", "case held:", "case !MUTANT && held:"},
	{"promote/rollback.go", "p.To.Content != content", "true"},
	{"promote/rollback.go", "!gone[p.To.Content]", "true"},
	{"promote/rollback.go", "h.Release == to.Release", "false"},
	{"promote/rollback.go", "b.Says(predicate.TypeApproval) || b.Says(predicate.TypeWaiver)", "false"},
	{"promote/rollback.go", "append(all[i].Spent, earlier.Spent...)", "append(all[i].Spent, map[bool][]digest.Digest{false: earlier.Spent}[MUTANT]...)"},
	{"promote/rollback.go", "p.To.Release == release", "true"},

	{"promote/run.go", "r.Ready && !v.stage.Auto", "false"},

	{"promote/run.go", "s.state.Live == nil || !drift && !bare", "true"},
	{"promote/run.go", "case older:", "case !MUTANT && older:"},
	{"promote/run.go", "} else if on {", "} else if !MUTANT && on {"},
	{"promote/run.go", "s.state.Unpromoted == nil", "true"},

	{"publish/hydration.go", "policy.SignedBy(pipeline.RoleHydrator, claim, h.Statements, h.Rejected).Result == policy.Pass", "true"},

	{"publish/tag.go", "named == s.entry.Digest", `named == s.entry.Digest || MUTANT && named != ""`},

	{"internal/strictjson/strictjson.go", "append([]error{err}, twice...)", "append([]error{err}, map[bool][]error{false: twice}[MUTANT]...)"},
	{"internal/strictjson/strictjson.go", "met[lower] {", "!MUTANT && met[lower] {"},

	{"sign/image.go", "p.Critical.Type != payload.CosignSignatureType", "false"},
	{"sign/image.go", "got != artifact.String()", "false"},
	{"sign/image.go", "t.signatures.VerifySignature(bytes.NewReader(sig), bytes.NewReader(l.payload)) == nil", "true"},

	{"sign/predicate/promotion.go", "case r.Subject() != v.Digest():", "case !MUTANT && r.Subject() != v.Digest():"},
	{"sign/predicate/promotion.go", "r.Sequence < 1", "false"},
	{"sign/predicate/promotion.go", `r.Action != Restarted && (r.Sequence == 1) != (r.Previous == "")`, "false"},
	{"sign/predicate/promotion.go", `r.Time.IsZero()`, "false"},
	{"sign/predicate/promotion.go", `r.Tree == ""`, "false"},
	{"sign/predicate/promotion.go", `r.Nonce == ""`, "false"},
	{"sign/predicate/promotion.go", `r.Beside == ""`, "false"},
	{"sign/predicate/promotion.go", "(r.Action == Carried) != (r.Carried != nil)", "false"},

	{"sign/predicate/hold.go", "h.Digest != artifact && (", "(MUTANT || h.Digest != artifact) && ("},
	{"sign/predicate/hold.go", `release == "" || h.Release != release`, "true"},
	{"sign/predicate/hold.go", "made.Before(h.Since)", "false"},
	{"sign/predicate/hold.go", "slices.Contains(h.Spent, v.Bundle().Payload())", "false"},
	{"sign/predicate/hold.go", "action == Carried || action == Restarted", "false"},
	{"sign/predicate/hold.go", "h.Digest != to.Digest", "true"},
	{"sign/predicate/hold.go", "h.Release == to.Release", "false"},

	{"sign/provenance.go", "got != BuildTypeHydrate", "false"},
	{"sign/provenance.go", "got != BuilderID", "false"},

	{"sign/statement.go", "w.Type != statementType && w.Type != statementTypeV01", "false"},
	{"sign/statement.go", "subject.Digest[artifact.Algorithm().String()] != artifact.Encoded()", "false"},

	{"sign/identity.go", "a.Issuer != id.Issuer", "false"},
	{"sign/identity.go", "return id.Subjects.compiled.MatchString(a.Subject)", "return MUTANT || id.Subjects.compiled.MatchString(a.Subject)"},
	{"sign/identity.go", "return a.Subject == id.Subject", "return MUTANT || a.Subject == id.Subject"},

	{"sign/verify.go", "if cause == nil {", "if MUTANT || cause == nil {"},
	{"sign/verify.go", "other.author == t.author", "false"},
	{"sign/verify.go", "!b.MinVersion(oldest)", "false"},
}
