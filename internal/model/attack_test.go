package model

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// Attackers. Each can write to what it is named for, and to nothing else.
const (
	nobody         = "nobody"
	registryWriter = "a writer of the registry"
	gitWriter      = "a writer of the ledger and of stage branches"
)

var thieves = []string{nobody, registryWriter, gitWriter}

// attack does something that the attacker can.
func (h *history) attack() {
	h.t.Helper()
	switch h.thief {
	case registryWriter:
		oneOf(h, []func(){h.retag, h.retag, h.untag, h.detach, h.reattach, h.forgeArtifact, h.setRegistryBack})()
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
	tag, to := oneOf(h, h.store.tags()), oneOf(h, h.store.puts).digest
	h.say("retag %s as %s", to, tag)
	repository := h.repository()
	if desc, err := repository.Resolve(h.t.Context(), to.String()); err == nil {
		h.must(repository.Tag(h.t.Context(), desc, tag))
	}
}

func (h *history) untag() {
	tag := oneOf(h, h.store.tags())
	h.say("delete tag %s", tag)
	h.must(h.repository().DeleteTag(h.t.Context(), tag))
}

// referrer returns a manifest that is attached to another, and that one's digest.
func (h *history) referrer() (raw []byte, m ocispec.Manifest, at digest.Digest) {
	for range 20 {
		at = oneOf(h, h.store.puts).digest
		_, raw, err := h.repository().Manifest(h.t.Context(), at.String())
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
	h.must(h.repository().DeleteManifest(h.t.Context(), at))
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
	_, err = h.repository().PushManifest(h.t.Context(), ocispec.MediaTypeImageManifest, raw)
	h.must(err)
}

// forgeArtifact makes a tag name an artifact that is the same but for its annotations.
func (h *history) forgeArtifact() {
	stage := oneOf(h, stages)
	tag := oneOf(h, []string{stage, stage + "." + h.release(h.current)})
	repository := h.repository()
	_, raw, err := repository.Manifest(h.t.Context(), tag)
	var m ocispec.Manifest
	if err != nil || json.Unmarshal(raw, &m) != nil {
		return
	}
	h.say("forge what %s names", tag)
	m.Annotations["forged"] = fmt.Sprint(h.random.Uint32())
	raw, err = json.Marshal(m)
	h.must(err)
	desc, err := repository.PushManifest(h.t.Context(), ocispec.MediaTypeImageManifest, raw)
	h.must(err)
	h.must(repository.Tag(h.t.Context(), desc, tag))
}

// setRegistryBack makes tags and attached statements what they were at some time. Artifacts stay.
func (h *history) setRegistryBack() {
	n := h.random.IntN(len(h.store.puts))
	h.say("set the registry back to write %d of %d", n, len(h.store.puts))
	puts := slices.Clone(h.store.puts)
	names := map[string]digest.Digest{}
	for _, p := range puts[:n] {
		names[p.tag] = p.digest
	}
	repository := h.repository()
	for _, p := range puts[n:] {
		if p.tag == "" && !slices.ContainsFunc(puts[:n], func(o named) bool { return o.digest == p.digest }) {
			_, raw, err := repository.Manifest(h.t.Context(), p.digest.String())
			var m ocispec.Manifest
			if err == nil && json.Unmarshal(raw, &m) == nil && m.Subject != nil {
				h.must(repository.DeleteManifest(h.t.Context(), p.digest))
			}
		}
	}
	for _, tag := range h.store.tags() {
		h.must(repository.DeleteTag(h.t.Context(), tag))
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
	for _, dir := range []string{staging, production, "deploy", "manifests"} {
		items, err := draft.Items(h.t.Context(), dir)
		h.must(err)
		for _, item := range items {
			names = append(names, path.Join(dir, item.Path))
		}
	}
	names = append(names, "deploy/"+staging+"/more.yaml")
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
	files := map[string][]byte{}
	for _, item := range items {
		data, err := source.Files(h.t.Context(), item.ID)
		h.must(err)
		files[item.Path] = data[item.ID]
	}
	draft, err := h.remote.Draft(h.t.Context(), "")
	h.must(err)
	h.must(draft.Replace(h.t.Context(), to.Path, files))
	_, err = draft.Commit(git.NewCommit{By: git.Signature{Name: "Eve", Email: "eve@acme.example"}, When: h.tick(), Message: "Promote"})
	h.must(err)
	draft.MovesFrom(h.head(to.Branch))
	h.must(h.remote.Push(h.t.Context(), git.Update{Branch: to.Branch, Draft: draft}))
}

// copyEntry makes the entry of one candidate that of another, with its facts changed to match.
func (h *history) copyEntry() {
	head := h.head(candidates)
	if head == "" {
		return
	}
	draft, err := h.remote.Draft(h.t.Context(), oneOf(h, append(slices.Clone(h.seen[candidates]), head)))
	h.must(err)
	from, to := oneOf(h, stages), oneOf(h, stages)
	items, err := draft.Items(h.t.Context(), from)
	h.must(err)
	if len(items) == 0 {
		return
	}
	item := oneOf(h, items)
	files, err := draft.Files(h.t.Context(), item.ID)
	h.must(err)
	release := h.release(h.random.IntN(h.current + 1))
	h.say("copy the entry %s of %s to %s of %s", item.Path, from, release, to)
	facts, statements, _ := strings.Cut(string(files[item.ID]), "\n")
	if h.random.IntN(2) == 0 {
		facts = strings.NewReplacer(`"stage":"`+from, `"stage":"`+to, strings.TrimSuffix(item.Path, ".jsonl"), release).Replace(facts)
	}
	now, err := h.remote.Draft(h.t.Context(), head)
	h.must(err)
	put(h.t, now, git.NewCommit{Message: "copied", When: h.tick()}, map[string]string{to + "/" + release + ".jsonl": facts + "\n" + statements})
	if now.Head() != head {
		h.must(h.remote.Push(h.t.Context(), git.Update{Branch: candidates, Draft: now}))
	}
}
