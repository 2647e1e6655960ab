package predicate

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/sign"
)

// Hold is an artifact that its stage does not return to by itself: a rollback left or skipped it, or a new beginning holds it. What it
// names is held: it has lost the names of what may come back.
type Hold struct {
	Release string          `json:"release,omitempty"` // none of its artifacts comes back, until one is promoted by name
	Digest  digest.Digest   `json:"digest"`            // the artifact does not come back, until it is promoted by name
	Content digest.Digest   `json:"content,omitempty"` // it does not come back under another release's name, until anything is promoted
	Since   time.Time       `json:"since"`             // what people gave for it before does not count
	Spent   []digest.Digest `json:"spent,omitempty"`   // nor do statements of these payloads, whatever times they claim: gates counted them
}

// Hold holds the artifact by all that it has.
func (a Artifact) Hold() Hold { return Hold{Release: a.Release, Digest: a.Digest, Content: a.Content} }

// Holds are what a stage does not return to by itself, the newest first. Each record carries all of them, so that the newest one answers
// whatever was removed from the policy ref, and however long the history is.
type Holds []Hold

// Of returns whether an artifact of a release is held, and if it is, since when, and what is spent.
func (all Holds) Of(release string, artifact digest.Digest) (hold Hold, held bool) {
	for _, h := range all {
		if h.Digest != artifact && (release == "" || h.Release != release) {
			continue
		}
		if held = true; h.Since.After(hold.Since) {
			hold.Since = h.Since
		}
		hold.Spent = append(hold.Spent, h.Spent...)
	}
	return hold, held
}

// Voids reports whether an approval or waiver of some time does not count for what is held: it was given before. The time is its signer's
// word, but no promotion before the hold can have counted one that was made after it.
func (h Hold) Voids(v sign.Verified, made time.Time) bool {
	return made.Before(h.Since) || slices.Contains(h.Spent, v.Bundle().Payload())
}

// Content reports whether a content is held under the name of any release.
func (all Holds) Content(content digest.Digest) bool {
	return slices.ContainsFunc(all, func(h Hold) bool { return h.Content == content && content != "" })
}

// After returns what is still held after an action that makes an artifact live.
func (all Holds) After(action Action, to Artifact) (left Holds) {
	if action == Carried || action == Restarted {
		return all // what is live stays
	}
	for _, h := range all {
		if h.Content = ""; h.Release == to.Release {
			h.Release = ""
		}
		if h.Digest != to.Digest {
			left = append(left, h)
		}
	}
	return left
}

// With returns what is held once more is held from some time on, the newest first.
func (all Holds) With(since time.Time, more ...Hold) (sum Holds) {
	for n, h := range slices.Concat(more, all) {
		if n < len(more) {
			h.Since = since
		}
		i := slices.IndexFunc(sum, func(other Hold) bool { return other.Digest == h.Digest })
		if i < 0 {
			i, sum = len(sum), append(sum, h)
			sum[i].Spent = nil
		}
		for _, spent := range h.Spent {
			if !slices.Contains(sum[i].Spent, spent) {
				sum[i].Spent = append(sum[i].Spent, spent)
			}
		}
	}
	return sum
}
