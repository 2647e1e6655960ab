package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
)

// Status is a stage at a glance.
type Status struct {
	State
	Since     time.Time     // that the content of Live is live without a break; zero if nothing is
	Candidate digest.Digest // of the release asked for; "" if it was not hydrated
	Input     digest.Digest // of the candidate's inputs
	Stale     string        // why the candidate is older than what it would be made from, for people; "" if it is not
	LiveInput digest.Digest // of those of Live; "" if they are not proven
	Branch    *Branch       // the stage branch; nil without a mirror
}

// Branch is the state of a stage branch.
type Branch struct {
	Name   string   `json:"name"`
	Commit git.Hash `json:"commit,omitempty"` // its head; "" if it does not exist
	InSync bool     `json:"inSync"`           // it shows the candidate or, if promotion writes it, what is live
}

// Promotes reports whether a stage declares who may promote to it.
func Promotes(declared pipeline.Expanded) bool {
	_, ok := declared.Identities[pipeline.RolePromoter]
	return ok
}

// Survey reads the status of a stage, declared at the policy ref whose files are given. If the stage declares no promoter,
// nothing is live and the tag is not verified. With an error, the status holds what is known.
func Survey(ctx context.Context, files fs.FS, ref verify.PolicyRef, declared pipeline.Expanded, release string, client *oci.Client, remotes verify.Remotes, now time.Time) (Status, error) {
	var status Status
	repository, err := client.Repository(declared.Repository)
	if err != nil {
		return status, err
	}
	var group errgroup.Group
	var candidate ledger.Entry
	var made policy.Hydration // of the candidate
	group.Go(func() (err error) {
		candidate, err = verify.EntryOf(ctx, declared, remotes, release)
		status.Candidate, status.Input = candidate.Digest, candidate.Input
		if err == nil && candidate.Digest != "" {
			status.Stale, made, err = staleEntry(ctx, files, ref, declared, candidate)
		}
		return err
	})
	var shown ledger.Version
	if m := declared.Mirror; m != nil {
		status.Branch = &Branch{Name: m.Branch}
		if m.ShowsCandidates() {
			group.Go(func() error {
				remote, err := verify.MirrorRemote(ctx, declared, remotes)
				if err == nil {
					shown, err = ledger.Shown(ctx, remote, verify.StagePlace(m))
				}
				return err
			})
		}
	}
	var broken error
	var stage Stage
	group.Go(func() (err error) {
		if !Promotes(declared) {
			status.Tag, err = repository.Lookup(ctx, declared.Stage)
			return err
		}
		stage, err = Open(ctx, files, ref, declared, client, remotes)
		if err == nil {
			err = status.read(ctx, stage, now)
		}
		if errors.Is(err, ErrBroken) {
			status.Live, broken, err = nil, err, nil
		}
		return err
	})
	err = group.Wait()
	status.readInputs(stage, candidate.Digest, made)
	if b := status.Branch; b != nil {
		if declared.Mirror.ShowsCandidates() {
			b.Commit = shown.Commit
			b.InSync = shown.Ours && shown.Files == candidate.Files && shown.Metadata.Digest() == candidate.Digest
		} else {
			b.Commit = status.Head
			b.InSync = err == nil && broken == nil && status.Unpromoted == nil
		}
	}
	if err == nil {
		err = broken
	}
	return status, err
}

// read reads what is live, from Git first: where the registry does not answer, that is known all the same.
func (s *Status) read(ctx context.Context, stage Stage, now time.Time) (err error) {
	if s.State, err = ReadGit(ctx, stage); err != nil {
		return err
	}
	if s.Live != nil {
		if s.Since, err = since(ctx, stage, s.State, now); err != nil {
			return err
		}
	}
	return stage.Witness(ctx, &s.State)
}

// readInputs reads the inputs of what is live: those of the candidate if they are one artifact, whose statements are proven then.
func (s *Status) readInputs(stage Stage, candidate digest.Digest, made policy.Hydration) {
	switch {
	case s.Live == nil:
	case s.Live.To.Digest == candidate && len(made.Statements) > 0:
		s.LiveInput = verify.Inputs(made.Statements)
	default:
		s.LiveInput = stage.Inputs(*s.Live)
	}
}

// staleEntry is [Stale] for an entry of the ledger; it returns also what the hydrator states of that.
func staleEntry(ctx context.Context, files fs.FS, ref verify.PolicyRef, declared pipeline.Expanded, candidate ledger.Entry) (stale string, h policy.Hydration, err error) {
	hydrator, err := verify.KeysOf(files, declared, pipeline.RoleHydrator)
	if errors.Is(err, verify.ErrIdentity) {
		return "", h, nil // nobody is trusted to say what it was made from, which promotion refuses
	}
	if err == nil {
		h, _, err = verify.Entry(ctx, candidate, hydrator, ref)
	}
	if err == nil {
		stale, err = Stale(ctx, declared, candidate.Release, h, ref)
	}
	return stale, h, err
}

// Stale describes for people what changed up to the policy ref's tip of what a candidate was made from, as its hydrator states it: it
// was not hydrated since, or that failed. It is "" if nothing changed.
func Stale(ctx context.Context, declared pipeline.Expanded, release string, candidate policy.Hydration, ref verify.PolicyRef) (string, error) {
	tip := verify.Made{Stage: declared.Stage, Commit: ref.Tip()}
	_, changed, _, err := tip.Gives(ctx, declared.Stage, candidate, ref, declared.File)
	if err != nil || changed == "" {
		return "", err
	}
	return fmt.Sprintf("the candidate of %s is older than a change of what it was made from (%s), because hydration failed or did not run; `lockage hydrate %s --release %s` says why",
		release, changed, declared.Argument, release), nil
}

// Consistent reports whether tag and live ref name the same promotion, and returns a sentence for people.
func (s State) Consistent(declared pipeline.Expanded) (bool, string) {
	stage, argument, place := declared.Stage, declared.Argument, declared.LiveRef()
	switch {
	case s.Live == nil && s.Tag != "":
		return false, fmt.Sprintf("tag %s names %s, and nothing was promoted: delete the tag, or promote with «lockage promote %s»", stage, s.Tag, argument)
	case s.Drift():
		return false, fmt.Sprintf("tag %s names %s, and %s (%s) is live: `lockage repair %s --apply` puts it right",
			stage, cmp.Or(s.Tag, "nothing"), s.Live.To.Digest, s.Live.To.Release, argument)
	case s.Unpromoted != nil && s.Live != nil && s.Unpromoted.Digest() == s.Live.To.Digest:
		return false, fmt.Sprintf("branch %s has other files than promotion %d (commit %s) in %s: somebody changed them there; «lockage promote %s --release %s» puts them back",
			place.Branch, s.Live.Sequence, s.Live.Commit, place.Path, argument, s.Live.To.Release)
	case s.Unpromoted != nil && s.Refused != "":
		return false, fmt.Sprintf("branch %s: %s", place.Branch, s.Refused)
	case s.Unpromoted != nil:
		what := "something else than an artifact of lockage"
		if s.Unpromoted.Lockage.Release != "" {
			what = s.Unpromoted.Lockage.Release + " (" + s.Unpromoted.Digest().String() + ")"
		}
		return false, fmt.Sprintf("branch %s shows %s in %s, which was pushed or merged there and never promoted: promote what should run",
			place.Branch, what, place.Path)
	case s.Live == nil:
		return true, "nothing was promoted yet"
	}
	return true, fmt.Sprintf("tag %s names %s, promotion %d of %s, recorded by key %s in commit %s of branch %s",
		stage, s.Tag, s.Live.Sequence, s.Live.Time.Format(time.RFC3339), s.Live.Key, s.Live.Commit, place.Branch)
}
