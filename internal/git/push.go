package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// ErrStale is returned if a branch moved since the draft started. Make a new draft from the branch's tip.
var ErrStale = errors.New("somebody else pushed first")

// branchPrefix is the prefix of branches among references.
const branchPrefix = "refs/heads/"

// Update is one branch to push.
type Update struct {
	Branch string // short name
	Draft  *Draft
}

// receiver is a way to a server's receive-pack (gitprotocol-pack(5), «Pushing Data To a Server»).
type receiver interface {
	// push passes the server's references to request, sends the result, and returns report and output.
	push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (*packp.ReportStatus, string, error)
}

// Tips asks the server for the tips of branches. The result lacks those that do not exist.
func (r *Remote) Tips(ctx context.Context, branches ...string) (map[string]Hash, error) {
	tips := map[string]Hash{}
	if r.local != nil {
		for _, b := range branches {
			_, id, err := r.local.resolveRef(plumbing.NewBranchReferenceName(b))
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("remote %s: %w", r, err)
			}
			tips[b] = hashOf(id)
		}
		return tips, nil
	}
	q := &question{branches: branches}
	if err := r.questions.do(ctx, q, r.askTogether, func(ctx context.Context, q *question) error { return r.ask(ctx, q) }); err != nil {
		return nil, fmt.Errorf("remote %s: %w", r, err)
	}
	return q.tips, nil
}

// question asks for the tips of branches.
type question struct {
	branches []string
	tips     map[string]Hash // the answer
}

// ask asks several questions in one request.
func (r *Remote) ask(ctx context.Context, questions ...*question) error {
	var names []string
	for _, q := range questions {
		for _, b := range q.branches {
			names = append(names, branchPrefix+b)
		}
	}
	slices.Sort(names)
	refs, err := r.link.references(ctx, slices.Compact(names))
	if err != nil {
		return err
	}
	known := map[string]Hash{}
	for _, ref := range refs {
		known[ref.name] = hashOf(ref.id)
	}
	for _, q := range questions {
		q.tips = map[string]Hash{}
		for _, b := range q.branches {
			if tip, ok := known[branchPrefix+b]; ok {
				q.tips[b] = tip
			}
		}
	}
	return nil
}

func (r *Remote) askTogether(ctx context.Context, questions []*question) []bool {
	return slices.Repeat([]bool{r.ask(ctx, questions...) == nil}, len(questions))
}

// maxJoined bounds how many pushes go together.
const maxJoined = 64

// pushesFit reports whether another push can go with these.
func pushesFit(batch []Update, other Update) bool {
	return len(batch) < maxJoined && !slices.ContainsFunc(batch, func(u Update) bool { return u.Branch == other.Branch })
}

// Push moves branches from the bases of their drafts to their heads, all of them or none, if none has moved meanwhile: else
// it returns ErrStale and pushes nothing. Errors quote the refusal of a server or its hooks. Pushing the same again returns
// ErrStale too, so that a push may be repeated after its response was lost.
//
// Pushes of one branch each that are made at a time go together, and each is done or fails by itself.
func (r *Remote) Push(ctx context.Context, updates ...Update) error {
	updates = slices.DeleteFunc(slices.Clone(updates), func(u Update) bool { return !u.Draft.Changed() })
	if len(updates) > 0 && r.noPush != nil {
		return fmt.Errorf("pushing to %s: %w", r, r.noPush)
	}
	switch len(updates) {
	case 0:
		return nil
	case 1:
		return r.pushes.do(ctx, updates[0], r.pushTogether, func(ctx context.Context, u Update) error { return r.pushAll(ctx, u) })
	}
	return r.pushAll(ctx, updates...)
}

// pushTogether pushes branches that do not depend on each other, and reports which of them the server moved.
func (r *Remote) pushTogether(ctx context.Context, updates []Update) []bool {
	done := make([]bool, len(updates))
	report, _, err := r.send(ctx, updates, false)
	if err != nil || report.UnpackStatus != "ok" {
		return done
	}
	for i, u := range updates {
		done[i] = slices.ContainsFunc(report.CommandStatuses, func(s *packp.CommandStatus) bool {
			return s.ReferenceName == plumbing.NewBranchReferenceName(u.Branch) && s.Status == "ok"
		}) && r.remember([]Update{u}) == nil
	}
	return done
}

// send sends updates to the server, whose report may be that it moved none.
func (r *Remote) send(ctx context.Context, updates []Update, atomic bool) (*packp.ReportStatus, string, error) {
	to := receiver(r.link)
	if r.local != nil {
		to = localReceiver{dir: r.local.common, opts: r.opts}
	}
	return to.push(ctx, func(adv *advertisement) (*packp.ReferenceUpdateRequest, error) {
		return r.updateRequest(adv, updates, atomic)
	})
}

// pushAll moves all branches or none.
func (r *Remote) pushAll(ctx context.Context, updates ...Update) error {
	report, output, err := r.send(ctx, updates, true)
	if err == nil {
		err = rejection(report, output)
	}
	if err == nil {
		return r.remember(updates)
	}
	if !errors.Is(err, ErrStale) && ctx.Err() == nil {
		// Servers report it in many ways: the branches' tips decide.
		if moved := r.moved(ctx, updates); moved != "" {
			err = fmt.Errorf("branch %s: %w: %w", moved, ErrStale, err)
		}
	}
	return fmt.Errorf("pushing to %s: %w", r, err)
}

// moved returns a branch whose tip is not the base of its draft.
func (r *Remote) moved(ctx context.Context, updates []Update) string {
	var names []string
	for _, u := range updates {
		names = append(names, u.Branch)
	}
	tips, err := r.Tips(ctx, names...)
	for _, u := range updates {
		if err == nil && tips[u.Branch] != u.Draft.base {
			return u.Branch
		}
	}
	return ""
}

// updateRequest makes the request, with a pack of the drafts' objects.
func (r *Remote) updateRequest(adv *advertisement, updates []Update, atomic bool) (*packp.ReferenceUpdateRequest, error) {
	if !adv.has("report-status") {
		return nil, errors.New("the server does not report the result of a push (report-status): nothing is sent to it")
	}
	req := packp.NewReferenceUpdateRequest()
	caps := []capability.Capability{capability.ReportStatus}
	for _, c := range []capability.Capability{capability.Sideband64k, capability.Quiet} {
		if adv.has(c.String()) {
			caps = append(caps, c)
		}
	}
	switch {
	case !atomic:
	case adv.has(capability.Atomic.String()):
		caps = append(caps, capability.Atomic)
	case len(updates) > 1:
		r.mu.Lock()
		r.warn("the server has no atomic pushes: branches are moved one by one")
		r.mu.Unlock()
	}
	for _, c := range caps {
		if err := req.Capabilities.Set(c); err != nil {
			return nil, err
		}
	}
	if err := clash(adv.refs, updates); err != nil {
		return nil, err
	}
	var objects []encoded
	packed := map[plumbing.Hash]bool{}
	for _, u := range updates {
		command := &packp.Command{Name: plumbing.NewBranchReferenceName(u.Branch), Old: u.Draft.base.id(), New: u.Draft.head.id()}
		for _, ref := range adv.refs {
			if ref.name == command.Name.String() && ref.id != command.Old {
				return nil, fmt.Errorf("branch %s: %w", u.Branch, ErrStale)
			}
		}
		req.Commands = append(req.Commands, command)
		for _, id := range u.Draft.order {
			if !packed[id] {
				packed[id] = true
				objects = append(objects, u.Draft.objects[id])
			}
		}
	}
	req.Packfile = io.NopCloser(packOf(objects))
	return req, nil
}

// remember caches the pushed objects, so that the next draft does not fetch them.
func (r *Remote) remember(updates []Update) error {
	if r.cache == nil {
		return nil
	}
	for _, u := range updates {
		for _, id := range u.Draft.order {
			obj, err := u.Draft.objects[id].inflated()
			if err == nil {
				err = r.cache.write(obj)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// rejection returns the failure that a report describes, or nil.
func rejection(report *packp.ReportStatus, output string) error {
	var reasons, names []string
	if report.UnpackStatus != "ok" {
		reasons = append(reasons, "unpacking failed: "+report.UnpackStatus)
	}
	stale := false
	for _, s := range report.CommandStatuses {
		if s.Status == "ok" {
			continue
		}
		names = append(names, strings.TrimPrefix(s.ReferenceName.String(), branchPrefix))
		if !slices.Contains(reasons, s.Status) {
			reasons = append(reasons, s.Status)
		}
		stale = stale || lostRace(s.Status, output)
	}
	if len(reasons) == 0 {
		return nil
	}
	if len(names) > 0 {
		reasons[0] = fmt.Sprintf("branch %s: %s", strings.Join(names, ", "), reasons[0])
	}
	err := fmt.Errorf("the server refuses %s", harmless(strings.Join(reasons, "; ")))
	if output = harmless(output); output != "" {
		err = fmt.Errorf("%w; it prints: %s", err, output)
	}
	if stale {
		err = fmt.Errorf("%w: %w", ErrStale, err)
	}
	return err
}

// lostRace reports whether a reason of receive-pack means that another push moved or locked the reference at the same time: by the
// server's words, or if it gives no other reason.
func lostRace(reason, output string) bool {
	contains := func(text string, phrases ...string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
	}
	switch {
	case !contains(reason, "failed to update ref", "failed to lock", "cannot lock ref", "incorrect old value", "reference already exists"):
		return false
	case contains(reason+" "+output, "but expected", "incorrect old value", "reference already exists", "File exists"):
		return true
	}
	return strings.TrimSpace(output) == "" && !strings.Contains(reason, ":")
}

// clash returns an error if an update makes a branch that cannot be beside one of the server's, or of the other updates: Git keeps no
// branch a/b beside a branch a.
func clash(refs []reference, updates []Update) error {
	names, folders := map[string]bool{}, map[string]string{} // folders of names, with one that lies in each
	add := func(name string) {
		names[name] = true
		for dir := path.Dir(name); len(dir) > len(branchPrefix); dir = path.Dir(dir) {
			folders[dir] = name
		}
	}
	for _, ref := range refs {
		add(ref.name)
	}
	for _, u := range updates {
		name := branchPrefix + u.Branch
		other := folders[name]
		for dir := path.Dir(name); len(dir) > len(branchPrefix); dir = path.Dir(dir) {
			if names[dir] {
				other = dir
			}
		}
		if other != "" {
			return fmt.Errorf("branch %s: '%s' exists, and Git keeps no branch below the name of another: delete it, or write another name", u.Branch, other)
		}
		add(name)
	}
	return nil
}

// readReport reads the response to a push: the report, and the server's output.
func readReport(body io.Reader, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, string, error) {
	body = io.LimitReader(body, maxAdvertisement)
	printed := &prefix{max: maxPrinted}
	if req.Capabilities.Supports(capability.Sideband64k) {
		body = &bandReader{p: newPktReader(body), progress: printed}
	}
	report := packp.NewReportStatus()
	if err := report.Decode(body); err != nil {
		if output := harmless(printed.String()); output != "" {
			err = fmt.Errorf("%w; the server prints: %s", noEOF(err), output)
		}
		return nil, "", fmt.Errorf("reading the result of the push: %w", noEOF(err))
	}
	return report, printed.String(), nil
}

// prefix keeps the first bytes written to it.
type prefix struct {
	bytes.Buffer
	max int
}

func (p *prefix) Write(data []byte) (int, error) {
	if room := p.max - p.Len(); room > 0 {
		_, _ = p.Buffer.Write(data[:min(room, len(data))]) // never fails
	}
	return len(data), nil
}
