package publish

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy/verify"
)

// read reads what the ledgers have of the stages.
func (r *run) read(ctx context.Context, stages []*stage) {
	for remote, own := range byRemote(stages, func(s *stage) *git.Remote { return s.ledger }) {
		candidates, err := ledger.ReadCandidates(ctx, remote, wanted(own)...)
		for _, s := range own {
			if s.candidates = candidates; err != nil && s.Err == nil {
				s.Err = fmt.Errorf("ledger: %w", err)
			}
		}
	}
}

// byRemote groups stages, in order, by a remote that they have.
func byRemote(stages []*stage, of func(*stage) *git.Remote) map[*git.Remote][]*stage {
	groups := map[*git.Remote][]*stage{}
	for _, s := range stages {
		groups[of(s)] = append(groups[of(s)], s)
	}
	return groups
}

func wanted(stages []*stage) []ledger.Candidate {
	all := make([]ledger.Candidate, len(stages))
	for i, s := range stages {
		all[i] = s.candidate()
	}
	return all
}

// candidate names the stage's entry.
func (s *stage) candidate() ledger.Candidate {
	return ledger.Candidate{Branch: s.Declared.Ledger.Candidates, Claim: s.claim}
}

// record writes the entries of the stages to the ledger and, in the same push, their branches. Branches in another repository
// than the ledger's come first: no entry is written whose branch is not.
func (r *run) record(ctx context.Context, stages []*stage) {
	good := func(s *stage) bool { return s.result.Err == nil }
	apart := func(s *stage) bool { return good(s) && s.remote != nil && s.remote != s.ledger }
	for remote, own := range byRemote(filter(stages, apart), func(s *stage) *git.Remote { return s.remote }) {
		r.write(ctx, remote, own, (*stage).branchChange)
	}
	for remote, own := range byRemote(filter(stages, good), func(s *stage) *git.Remote { return s.ledger }) {
		r.write(ctx, remote, own, (*stage).change)
	}
}

// yield restores an entry that this run replaced, if the policy ref moved on meanwhile and led back to it: a run of the newer
// commit may have found the entry in place before this one wrote.
func (r *run) yield(ctx context.Context, stages []*stage) {
	stages = filter(stages, func(s *stage) bool { return s.result.Err == nil && s.recorded && s.replaced != nil })
	if len(stages) == 0 || r.policy == nil {
		return
	}
	ref, err := r.policy(ctx)
	if err != nil {
		for _, s := range stages {
			s.fail(fmt.Errorf("policy ref: %w", err))
		}
		return
	}
	if ref.Tip() == r.tip {
		return
	}
	r.mu.Lock()
	r.policyRef = ref
	r.mu.Unlock()
	tip := r.tipInputs(ctx)
	stages = filter(stages, func(s *stage) bool {
		s.tipInput = tip[plan.KeyOf(s.Stage.Stage)]
		stays, err := s.stays(ctx, *s.replaced)
		if err != nil {
			s.fail(err)
		} else if stays {
			s.yielded = true
			s.take(ctx, *s.replaced)
		}
		return s.yielded
	})
	r.record(ctx, stages)
}

func filter(stages []*stage, keep func(*stage) bool) []*stage {
	return slices.DeleteFunc(slices.Clone(stages), func(s *stage) bool { return !keep(s) })
}

// write writes the changes of stages to a remote, in one push. Where that is refused, each pipeline gets a push of its own, so
// that what is wrong of one stops no other.
func (r *run) write(ctx context.Context, remote *git.Remote, stages []*stage, change func(*stage) ledger.Change) {
	writer := r.BranchWriter(remote)
	err := r.writeTogether(ctx, writer, stages, change)
	if err == nil {
		return
	}
	several := stages[0].into != stages[len(stages)-1].into
	for len(stages) > 0 {
		n := 1
		for n < len(stages) && stages[n].into == stages[0].into {
			n++
		}
		if several && ctx.Err() == nil {
			err = r.writeTogether(ctx, writer, stages[:n], change)
		}
		if err != nil {
			for _, s := range stages[:n] {
				s.fail(fmt.Errorf("ledger: %w", err))
			}
		}
		stages = stages[n:]
	}
}

func (r *run) writeTogether(ctx context.Context, w *ledger.Writer, stages []*stage, change func(*stage) ledger.Change) error {
	changes := make([]ledger.Change, len(stages))
	for i, s := range stages {
		changes[i] = change(s)
	}
	results, err := w.Write(ctx, changes)
	if err != nil {
		return err
	}
	for i, s := range stages {
		s.written(ctx, changes[i], results[i])
	}
	return nil
}

// written takes over what became of a change.
func (s *stage) written(ctx context.Context, c ledger.Change, result ledger.Result) {
	if result.Err != nil {
		s.fail(result.Err)
		return
	}
	if result.Recorded {
		s.recorded, s.replaced = true, result.Replaced
	}
	if result.Recorded || result.Written {
		s.pushed()
	}
	if result.Entry.Digest != s.entry.Digest {
		s.take(ctx, *result.Entry) // another run was faster
	}
	s.entry = *result.Entry
	if s.made && s.desc.Digest == s.entry.Digest && !result.Recorded {
		if err := s.attach(ctx, s.desc); err != nil { // both runs listed their statements as the first ones
			s.fail(err)
			return
		}
	}
	if c.Branch == "" {
		return
	}
	if result.Superseded {
		s.run.Warn(fmt.Sprintf("%s: branch %s shows a newer hydration; it stays unchanged", s, s.Declared.Mirror.Branch))
		return
	}
	s.result.Commit = result.Commit
	if result.Written {
		s.run.Step(fmt.Sprintf("%s on branch %s", s, s.Declared.Mirror.Branch))
	}
}

// pushed records that something was written beside the artifact.
func (s *stage) pushed() {
	if s.result.Action == Unchanged {
		s.result.Action = Pushed
	}
}

// change records the stage's entry, and makes its branch show it if that is in the same repository.
func (s *stage) change() ledger.Change {
	c := ledger.Change{
		Artifact: s.entry.Artifact,
		Commit:   s.run.ref().Commit,
		Time:     s.release.Committed,
		Sign:     s.signCommit,
		Hydration: &ledger.Hydration{
			Candidates: s.Declared.Ledger.Candidates,
			Entry:      s.entry,
			Stays:      s.stays,
			Keep:       s.keep,
		},
	}
	if s.remote == s.ledger {
		s.show(&c)
	}
	return c
}

// branchChange makes the stage's branch show its entry, where the ledger is in another repository.
func (s *stage) branchChange() ledger.Change {
	c := s.change()
	c.Hydration.Candidates = ""
	c.Hydration.Entries = func(ctx context.Context, release string) (ledger.Entry, bool, error) {
		name := s.candidate()
		name.Release = release
		now, err := ledger.ReadCandidates(ctx, s.ledger, name)
		if err != nil {
			return ledger.Entry{}, false, err
		}
		return now.Entry(ctx, name)
	}
	s.show(&c)
	return c
}

// show adds the stage's branch to a change.
func (s *stage) show(c *ledger.Change) {
	m := s.Declared.Mirror
	c.Place, c.Attributes = verify.StagePlace(m), m.Attributes
	c.Tree = func(ctx context.Context) (fs.FS, error) { // the branch shows what the registry has
		return s.repository.ReadTree(ctx, c.Digest.String())
	}
}

// keep returns the releases whose entries stay in the ledger: the newest of them, and all that are not older than what is live.
func (s *stage) keep(ctx context.Context, releases []string) ([]string, error) {
	files, err := s.run.ref().Files(ctx)
	if err != nil {
		return nil, err
	}
	remote, at, err := verify.LiveRef(ctx, s.Declared, s.run.Workspace.Repository)
	if err != nil {
		return nil, err
	}
	shown, err := ledger.Shown(ctx, remote, at)
	if err != nil {
		return nil, err
	}
	dir, current, since := s.release.Pipeline.Lock, shown.Metadata.Lockage.Release, []string{}
	if current != "" {
		if since, err = s.run.ref().Since(ctx, dir, current); err != nil {
			return nil, nil //nolint:nilerr,nilnil // nobody knows what is older
		}
	}
	return newest(s.run.ref().Releases(ctx, files, dir), releases, s.claim.Release, current, len(since))
}

// newest returns the newest of some releases, and all of so many that are newer than what is live ("" for nothing), in an order that
// begins with the newest. Its own and what is live are always among them.
func newest(order iter.Seq2[string, error], releases []string, own, live string, newer int) ([]string, error) {
	kept := []string{own}
	if live != "" && live != own {
		kept = append(kept, live)
	}
	for id, err := range order {
		if err != nil {
			return nil, err
		}
		if slices.Contains(releases, id) && !slices.Contains(kept, id) {
			kept = append(kept, id)
		}
		if newer--; newer <= 0 && len(kept) >= ledger.MaxCandidates {
			break
		}
	}
	return kept, nil
}
