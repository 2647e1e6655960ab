// Package live reads what is live in a stage, and proves how it came there.
//
// The stage's live ref in Git decides what is live: a branch whose commits show artifacts at a path, as package ledger
// writes them, with the signed statements of the promotion beside the files. The registry's tag of the stage only follows it.
//
// A commit is a promotion if the record in it is signed by the promoter for this pipeline, stage and repository, names the
// commit's first parent, the tree that the commit shows, and the digest of the other statements in it. All that is below a promotion is what was there when it was
// signed, since Git's ids hold it. Every other commit is foreign: somebody edited, merged or reverted something by hand.
// Foreign commits change nothing of what is live, but what the branch shows: [State.Unpromoted] then holds it, and the next
// promotion replaces it.
//
// # Keys
//
// The newest promotion is the newest commit whose record counts by its key, which has to be in the promoter's file at the policy
// ref's tip. The first key there counts. One further down was put away: it counts for a record if it was the first at the policy
// commit that the record names, and if no promotion below by another key of the file was judged by a policy commit that this one
// does not contain. Policy commits never go back, so that a key that was put away does not sign over what its successor signed.
//
// Below the newest promotion the chain decides, whatever became of the keys: the one before is the commit with the record that
// the one above names by digest, since its signer saw that it counted. So a key that is taken out of the file takes the force
// from its records that no other key has built on since, and from no others. Where that are all, the stage does not begin anew by
// itself: that is ErrBroken, because holds would be forgotten. Certificates are proven by the trusted root at the policy ref's tip. That of the
// policy commit which a record names only says whether the promoter signed it once.
//
// # Where the history goes on
//
// A record of the action carried names the place and the name that the stage had before an edit of its pipeline file, and the
// commit of the newest promotion there: the chain goes on from that commit, which is among the ancestors of the record's own. A
// stage that has no such record yet is [ErrMoved]. A record of the action restarted is a new beginning that a person asked for. It
// may follow nothing, and make nothing live: [State.Anew].
//
// # The witness
//
// A person who can push to the branch, without a promoter's key, can still set it back to an older promotion. The registry
// witnesses against that: it has the record of each promotion on its artifact, attached after the commit was pushed. A record
// there that the live ref lacks is ErrBroken. Where no promotion counts on the live ref, it need not be proven by today's file: who was the
// promoter by the policy commit that the record names signed it, so that a key or trusted root that was replaced makes nothing begin anew in silence.
// Above a promotion that counts, a record that does not changes nothing. Numbers say what is above and below, but for a key that was put
// away: what it signed does not lie over a record that it could not sign over, whatever the numbers are.
package live

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// ErrBroken is returned if the registry proves that the live ref lacks a promotion. The error's text names both.
var ErrBroken = errors.New("the record of what is live is broken")

// Stage is a stage, and where its state is kept.
type Stage struct {
	sign.Claim // without a release
	Artifacts  *oci.Repository
	Promoter   verify.Keys      // of the stage's promoter and nobody else
	PolicyRef  verify.PolicyRef // says which of them was the first when
	Remote     *git.Remote      // of the live ref
	Place      ledger.Place     // branch and path of the live ref

	files        fs.FS // at the policy ref's tip
	declared     pipeline.Expanded
	declarations *workspace.Policy // whose earlier commits declared other places; nil if they are unknown
	client       *oci.Client
	remotes      verify.Remotes
	name         string // that commands take for the stage today; "" for that of declared
}

// today returns the name that commands take, also for a place where the stage had another one.
func (s Stage) today() string { return cmp.Or(s.name, s.declared.Argument, s.Stage) }

// Open finds where a declared stage keeps its state, and whom it trusts to promote. Files are those at the policy ref's tip. It
// makes no request.
func Open(ctx context.Context, files fs.FS, ref verify.PolicyRef, declared pipeline.Expanded, client *oci.Client, remotes verify.Remotes) (Stage, error) {
	promoter, err := verify.KeysOf(files, declared, pipeline.RolePromoter)
	if err != nil {
		return Stage{}, err
	}
	s := Stage{Promoter: promoter, PolicyRef: ref, files: files, client: client, remotes: remotes}
	s.declarations, _ = ref.(*workspace.Policy)
	return s.at(ctx, declared)
}

// at returns where a stage keeps its state by a declaration.
func (s Stage) at(ctx context.Context, declared pipeline.Expanded) (_ Stage, err error) {
	if s.Artifacts, err = s.client.Repository(declared.Repository); err != nil {
		return s, err
	}
	s.declared = declared
	s.Promoter.Pipeline, s.Promoter.Stage = declared.Pipeline, declared.Stage
	s.Claim = sign.Claim{Pipeline: declared.Pipeline, Stage: declared.Stage, Repository: s.Artifacts.Name()}
	s.Remote, s.Place, err = verify.LiveRef(ctx, declared, s.remotes)
	return s, err
}

// Promotion is a proven promotion on the live ref.
type Promotion struct {
	predicate.Promotion
	Record     digest.Digest // of its bundle: what the next one names as the one before
	Commit     string        // on the live ref
	Path       string        // that shows it there
	Metadata   ledger.Metadata
	Key        string // fingerprint of the promoter's key
	Statements ledger.Statements

	tree   git.Hash  // of everything below the path
	Signed sign.Time // when the record was signed, as a timestamp authority or a log proves; zero if none does
	signed sign.Verified
}

// Inputs returns the input digest of what was promoted, as its hydrator states it; "" if that is not proven by a key of today's file.
func (s Stage) Inputs(p Promotion) digest.Digest {
	hydrator, err := verify.Identity(s.files, s.declared, pipeline.RoleHydrator)
	if err != nil {
		return ""
	}
	statements, _ := hydrator.Verify(p.To.Digest, p.Statements.Bundles)
	return verify.Inputs(statements)
}

// State is what is live in a stage now.
type State struct {
	Live *Promotion    // the newest promotion; nil if nothing was promoted yet
	Anew *Promotion    // a new beginning, if that is the newest record and made nothing live; nil for none
	Tag  digest.Digest // what the stage's tag names; "" for nothing
	Bare bool          // the registry lacks statements that the commit of Live holds
	Head git.Hash      // of the live ref; "" if it does not exist
	Tree git.Hash      // Git's id of what is below the path at Head; "" for nothing

	// Unpromoted is what the head shows because somebody merged, pushed or removed it by hand; it is zero if that names no
	// artifact of lockage. Nil if the head shows what was promoted, or never showed anything.
	Unpromoted *ledger.Metadata
	// Refused says why the newest record above Live does not count, if it is by a key that was put away; "" for none.
	Refused string
}

// Newest returns the newest record, whether or not it made something live; nil for none.
func (s State) Newest() *Promotion { return cmp.Or(s.Live, s.Anew) }

// Holds returns what the stage does not return to by itself.
func (s State) Holds() predicate.Holds {
	if newest := s.Newest(); newest != nil {
		return newest.Holds
	}
	return nil
}

// Drift reports whether the stage's tag names something else than what is live.
func (s State) Drift() bool {
	if s.Live == nil {
		return s.Tag != ""
	}
	return s.Tag != s.Live.To.Digest
}

// maxReads bounds how often a state is read again because it moves.
const maxReads = 5

// Read reads what is live now from Git, and asks the registry for the stage's tag and whether it has a promotion that Git
// lacks, see [Stage.Witness]. With an error, the state holds what is known.
func Read(ctx context.Context, s Stage) (State, error) {
	state, err := ReadGit(ctx, s)
	if err == nil {
		err = s.Witness(ctx, &state)
	}
	return state, err
}

// ReadGit reads what is live from Git alone.
func ReadGit(ctx context.Context, s Stage) (State, error) {
	return s.walk(ctx, func(Promotion) bool { return false })
}

// Witness reads the stage's tag into a state, and returns ErrBroken if the registry has a promotion that comes after the
// state's, or [ErrMoved] if it is in the place where the stage was before an edit of its pipeline file. A promotion that is made
// meanwhile is in Git before the registry has it: then Witness reads the state again.
func (s Stage) Witness(ctx context.Context, state *State) error {
	for attempt := 1; ; attempt++ {
		var err error
		nothing := state.Newest() == nil
		if nothing {
			err = s.moved(ctx, *state)
		}
		if err == nil {
			err = s.witness(ctx, state)
		}
		if err == nil || !errors.Is(err, ErrBroken) || attempt == maxReads {
			return err
		}
		again, rerr := ReadGit(ctx, s)
		switch {
		case rerr != nil:
			return rerr
		case again.Head != state.Head:
			*state = again
		case nothing:
			return err
		default:
			return cmp.Or(s.moved(ctx, *state), err)
		}
	}
}

// moved returns [ErrMoved] if a stage has later promotions in a former place.
func (s Stage) moved(ctx context.Context, state State) error {
	former, err := s.Former(ctx, state)
	if err == nil && former != nil {
		err = former.Err(s)
	}
	return err
}
