package model

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// Attackers. Each can write to what it is named for, and to nothing else.
const (
	nobody         = "nobody"
	registryWriter = "a writer of the registry"
	gitWriter      = "a writer of the ledger and of stage branches"
	keyThief       = "a writer of the ledger with the promoter's former keys"
)

var thieves = []string{nobody, registryWriter, gitWriter, keyThief}

// attack does something that the attacker can.
func (h *history) attack() {
	h.t.Helper()
	switch h.thief {
	case registryWriter:
		if len(h.store.tags(h.repository)) == 0 { // he deleted them all, or nothing was written yet
			return
		}
		oneOf(h, []func(){h.retag, h.retag, h.untag, h.detach, h.reattach, h.forgeArtifact, h.setRegistryBack})()
	case keyThief:
		h.forgePromotion()
	case gitWriter:
		if !slices.ContainsFunc(h.branches(), func(b string) bool { return h.head(b) != "" }) {
			return
		}
		oneOf(h, []func(){h.setBranchBack, h.setBranchBack, h.removeBranch, h.editBranch, h.amendBranch, h.copyTree, h.swapBranches, h.copyEntry, h.transplant})()
	default:
		return
	}
	h.touched = true
	for _, s := range h.specs {
		s.doubt()
		s.lost = s.lost || h.thief == registryWriter
	}
}

// retag points a tag at any manifest.
func (h *history) retag() {
	tag, to := oneOf(h, h.store.tags(h.repository)), oneOf(h, h.store.of(h.repository)).digest
	h.say("retag %s as %s", to, tag)
	repository := h.registry()
	if desc, err := repository.Resolve(h.t.Context(), to.String()); err == nil {
		h.must(repository.Tag(h.t.Context(), desc, tag))
	}
}

func (h *history) untag() {
	tag := oneOf(h, h.store.tags(h.repository))
	h.say("delete tag %s", tag)
	h.deleteTag(tag)
}

// deleteTag deletes a tag, if it is there.
func (h *history) deleteTag(tag string) {
	if named, err := h.registry().Lookup(h.t.Context(), tag); err == nil && named != "" {
		h.must(h.registry().DeleteTag(h.t.Context(), tag))
	}
}

// referrer returns a manifest that is attached to another, and that one's digest.
func (h *history) referrer() (raw []byte, m ocispec.Manifest, at digest.Digest) {
	for range 20 {
		at = oneOf(h, h.store.of(h.repository)).digest
		_, raw, err := h.registry().Manifest(h.t.Context(), at.String())
		if err == nil && json.Unmarshal(raw, &m) == nil && m.Subject != nil {
			return raw, m, at
		}
		m = ocispec.Manifest{}
	}
	return nil, m, ""
}

// detach deletes what is attached to an artifact.
func (h *history) detach() {
	_, m, at := h.referrer()
	if m.Subject == nil {
		return
	}
	h.say("delete %s of %s, attached to %s", at, m.Annotations, m.Subject.Digest)
	h.deleteManifest(at)
}

// deleteManifest deletes a manifest, if it is there.
func (h *history) deleteManifest(d digest.Digest) {
	if _, _, err := h.registry().Manifest(h.t.Context(), d.String()); err == nil {
		h.must(h.registry().DeleteManifest(h.t.Context(), d))
	}
}

// reattach attaches what was signed about one artifact to another.
func (h *history) reattach() {
	_, m, _ := h.referrer()
	_, other, _ := h.referrer()
	if m.Subject == nil || other.Subject == nil {
		return
	}
	h.say("attach %s of %s to %s", m.Annotations, m.Subject.Digest, other.Subject.Digest)
	m.Subject = other.Subject
	raw, err := json.Marshal(m)
	h.must(err)
	_, err = h.registry().PushManifest(h.t.Context(), ocispec.MediaTypeImageManifest, raw)
	h.must(err)
}

// forgeArtifact makes a tag name an artifact that is the same but for its annotations.
func (h *history) forgeArtifact() {
	stage := h.name(oneOf(h, stages))
	tag := oneOf(h, []string{stage, stage + "." + h.release(h.current)})
	repository := h.registry()
	_, raw, err := repository.Manifest(h.t.Context(), tag)
	var m ocispec.Manifest
	if err != nil || json.Unmarshal(raw, &m) != nil {
		return
	}
	h.say("forge what %s names", tag)
	if m.Annotations == nil { // it names something else since an attack
		m.Annotations = map[string]string{}
	}
	m.Annotations["forged"] = fmt.Sprint(h.random.Uint32())
	raw, err = json.Marshal(m)
	h.must(err)
	desc, err := repository.PushManifest(h.t.Context(), ocispec.MediaTypeImageManifest, raw)
	h.must(err)
	h.must(repository.Tag(h.t.Context(), desc, tag))
}

// setRegistryBack makes tags and attached statements what they were at some time. Artifacts stay.
func (h *history) setRegistryBack() {
	n := h.random.IntN(len(h.store.of(h.repository)))
	h.say("set the registry back to write %d of %d", n, len(h.store.of(h.repository)))
	puts := slices.Clone(h.store.of(h.repository))
	names := map[string]digest.Digest{}
	for _, p := range puts[:n] {
		names[p.tag] = p.digest
	}
	repository := h.registry()
	for _, p := range puts[n:] {
		if p.tag == "" && !slices.ContainsFunc(puts[:n], func(o named) bool { return o.digest == p.digest }) {
			_, raw, err := repository.Manifest(h.t.Context(), p.digest.String())
			var m ocispec.Manifest
			if err == nil && json.Unmarshal(raw, &m) == nil && m.Subject != nil {
				h.deleteManifest(p.digest)
			}
		}
	}
	for _, tag := range h.store.tags(h.repository) {
		h.deleteTag(tag)
		if names[tag] == "" {
			continue
		}
		if desc, err := repository.Resolve(h.t.Context(), names[tag].String()); err == nil {
			h.must(repository.Tag(h.t.Context(), desc, tag))
		}
	}
}

// branch chooses a branch that exists, and a commit that was its head.
func (h *history) branch() (string, git.Hash) {
	branches := slices.DeleteFunc(h.branches(), func(b string) bool { return h.head(b) == "" })
	branch := oneOf(h, branches)
	return branch, oneOf(h, append(slices.Clone(h.seen[branch]), h.head(branch)))
}

func (h *history) setBranchBack() {
	branch, to := h.branch()
	h.say("set %s back to %.8s", branch, to)
	setRef(h.t, h.bare, branch, to)
}

func (h *history) removeBranch() {
	branch, _ := h.branch()
	h.say("remove %s", branch)
	setRef(h.t, h.bare, branch, "")
}

// swapBranches makes a branch what another one is.
func (h *history) swapBranches() {
	branch, _ := h.branch()
	_, to := h.branch()
	h.say("set %s to %.8s", branch, to)
	setRef(h.t, h.bare, branch, to)
}

// copyTree commits the tree of an earlier commit of any branch on a branch.
func (h *history) copyTree() {
	branch, _ := h.branch()
	_, from := h.branch()
	h.say("commit the tree of %.8s on %s", from, branch)
	commit := testworld.Git(h.t, h.bare, "commit-tree", "-p", string(h.head(branch)), "-m", "copied", string(from)+"^{tree}")
	setRef(h.t, h.bare, branch, git.Hash(commit))
}

// editBranch changes, adds or empties a file of a branch by hand.
func (h *history) editBranch() {
	branch, _ := h.branch()
	draft, err := h.remote.Draft(h.t.Context(), h.head(branch))
	h.must(err)
	h.edit(draft, branch)
	h.must(h.remote.Push(h.t.Context(), git.Update{Branch: branch, Draft: draft}))
}

// amendBranch changes a file in the newest commit of a branch.
func (h *history) amendBranch() {
	branch, _ := h.branch()
	head := h.head(branch)
	draft, err := h.remote.Draft(h.t.Context(), head)
	h.must(err)
	h.edit(draft, branch)
	h.must(h.remote.Push(h.t.Context(), git.Update{Branch: branch, Draft: draft}))
	commit, err := h.remote.Commit(h.t.Context(), head)
	h.must(err)
	args := []string{"commit-tree", "-m", commit.Message, string(draft.Head()) + "^{tree}"}
	for _, parent := range commit.Parents {
		args = append(args, "-p", string(parent))
	}
	setRef(h.t, h.bare, branch, git.Hash(testworld.Git(h.t, h.bare, args...)))
}

// edit commits a changed, added or emptied file to the draft of a branch.
func (h *history) edit(draft *git.Draft, branch string) {
	var names []string
	for _, dir := range []string{h.names[0], h.names[1], h.folder, "manifests"} {
		items, err := draft.Items(h.t.Context(), dir)
		h.must(err)
		for _, item := range items {
			names = append(names, path.Join(dir, item.Path))
		}
	}
	names = append(names, h.stageBranch(staging).Path+"/more.yaml")
	name := oneOf(h, names)
	text := oneOf(h, []string{"", "kind: Evil\n"})
	h.say("edit %s on %s", name, branch)
	put(h.t, draft, git.NewCommit{Message: "edited", When: h.tick()}, map[string]string{name: text})
}

// transplant begins the live ref of a stage with what the other stage's live ref shows, at the stage's own path.
func (h *history) transplant() {
	from, to := h.liveRef(stages[0]), h.liveRef(stages[1])
	if h.random.IntN(2) == 0 {
		from, to = to, from
	}
	heads := append(slices.Clone(h.seen[from.Branch]), h.head(from.Branch))
	source, err := h.remote.Draft(h.t.Context(), oneOf(h, heads))
	h.must(err)
	items, err := source.Items(h.t.Context(), from.Path)
	h.must(err)
	if len(items) == 0 {
		return
	}
	h.say("begin %s with what %s has", to.Branch, from.Branch)
	files := map[string]git.Blob{}
	for _, item := range items {
		files[item.Path] = git.NewBlob(h.blob(item.ID))
	}
	draft, err := h.remote.Draft(h.t.Context(), "")
	h.must(err)
	h.must(draft.Replace(h.t.Context(), to.Path, files))
	_, err = draft.Commit(git.NewCommit{By: git.Signature{Name: "Eve", Email: "eve@acme.example"}, When: h.tick(), Message: "Promote"})
	h.must(err)
	draft.MovesFrom(h.head(to.Branch))
	h.must(h.remote.Push(h.t.Context(), git.Update{Branch: to.Branch, Draft: draft}))
}

// blob reads a file by its id.
func (h *history) blob(id git.Hash) []byte {
	h.must(h.remote.FetchFiles(h.t.Context(), id))
	data, err := h.remote.File(h.t.Context(), id)
	h.must(err)
	return data
}

// copyEntry makes the entry of one candidate that of another, with its facts changed to match.
func (h *history) copyEntry() {
	head := h.head(h.candidates())
	if head == "" {
		return
	}
	draft, err := h.remote.Draft(h.t.Context(), oneOf(h, append(slices.Clone(h.seen[h.candidates()]), head)))
	h.must(err)
	from, to := oneOf(h, h.names[:]), oneOf(h, h.names[:])
	items, err := draft.Items(h.t.Context(), from)
	h.must(err)
	if len(items) == 0 {
		return
	}
	item := oneOf(h, items)
	release := h.release(h.random.IntN(len(h.order)))
	h.say("copy the entry %s of %s to %s of %s", item.Path, from, release, to)
	facts, statements, _ := strings.Cut(string(h.blob(item.ID)), "\n")
	if h.random.IntN(2) == 0 {
		facts = strings.NewReplacer(`"stage":"`+from, `"stage":"`+to, strings.TrimSuffix(item.Path, ".jsonl"), release).Replace(facts)
	}
	now, err := h.remote.Draft(h.t.Context(), head)
	h.must(err)
	put(h.t, now, git.NewCommit{Message: "copied", When: h.tick()}, map[string]string{to + "/" + release + ".jsonl": facts + "\n" + statements})
	if now.Head() != head {
		h.must(h.remote.Push(h.t.Context(), git.Update{Branch: h.candidates(), Draft: now}))
	}
}

// forgePromotion promotes a candidate, or what was live once, by a key that was put away or taken out, in the name of a policy commit of
// its time.
func (h *history) forgePromotion() {
	stage := oneOf(h, stages)
	var times []int // policy commits of former keys
	for i := range h.tips {
		if h.then[i].promoter[0] != h.promoter[0] {
			times = append(times, i)
		}
	}
	if len(times) == 0 {
		return
	}
	at, policy := h.liveRef(stage), oneOf(h, times)
	then := h.then[policy]
	key := then.promoter[0]
	desc, err := h.registry().Resolve(h.t.Context(), oci.CandidateTag(h.name(stage), h.release(h.random.IntN(len(h.order)))))
	if err != nil {
		return
	}
	tree, err := h.registry().ReadTree(h.t.Context(), desc.Digest.String())
	h.must(err)
	manifest, err := h.registry().ReadArtifact(h.t.Context(), desc.Digest.String())
	h.must(err)
	truth, before := h.truth(stage), h.head(at.Branch)
	claim := sign.Claim{Pipeline: h.pipeline, Stage: h.name(stage), Repository: h.repository, Release: manifest.Annotations[oci.AnnotationRelease]}
	rec := predicate.Promotion{
		Claim: claim, Action: predicate.Promoted, Sequence: 1, Time: h.tick().Truncate(time.Second),
		To:     predicate.Artifact{Release: claim.Release, Digests: oci.Digests{Digest: desc.Digest, Content: tree.ContentDigest()}},
		Policy: predicate.Policy{Ref: "origin@main", Commit: string(h.tips[policy]), File: "lockage.yaml", Digest: desc.Digest},
	}
	if truth != nil {
		rec.Sequence, rec.Previous = 1000+len(h.made), truth.record // above any other: two with one number are a broken record
	}
	draft, err := h.remote.Draft(h.t.Context(), before)
	h.must(err)
	expected, err := draft.ID(h.t.Context(), at.Path)
	h.must(err)
	h.say("forge a promotion of %s to %s by key %d of policy %d", claim.Release, stage, key, policy)
	_, err = ledger.NewWriter(h.remote, nil).Write(h.t.Context(), []ledger.Change{{
		Artifact: ledger.Artifact{Claim: claim, Digests: rec.To.Digests},
		Place:    at, Time: rec.Time,
		Tree: func(context.Context) (fs.FS, error) { return tree, nil },
		Promotion: &ledger.Promotion{Expected: expected, Attest: func(ctx context.Context, parent, tree git.Hash) (ledger.Statements, error) {
			rec.Parent, rec.Tree, rec.Nonce = string(parent), string(tree), fmt.Sprint(h.random.Uint64())
			return live.Sign(ctx, h.stolen[key], rec, ledger.Statements{})
		}},
	}})
	h.must(err)
	own := h.specs[stage]
	if p := h.landed(stage, before, truth); p != nil {
		own.made = own.made[:len(own.made)-1] // the registry does not know it
		p.number, p.forged, p.unmade, p.key, p.policy, h.forged = rec.Sequence, true, true, key, policy, true
		p.unnamed = then.as(stage) != h.as(stage)
	}
}
