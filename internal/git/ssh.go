package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
)

// sshLink speaks version 0 over ssh, with the ssh agent's keys and known_hosts, in one session per operation.
type sshLink struct {
	address string
	count   *counters
}

// open starts a session of one of the client's services, and reads the references.
func open[S transport.Session](ctx context.Context, l *sshLink, service func(*transport.Endpoint, transport.AuthMethod) (S, error)) (session S, refs *packp.AdvRefs, err error) {
	endpoint, err := transport.NewEndpoint(l.address)
	if err != nil {
		return session, nil, err
	}
	if session, err = service(endpoint, nil); err != nil {
		return session, nil, fmt.Errorf("ssh: %w: is the key in the ssh agent, and the host in known_hosts?", err)
	}
	l.count.trips.Add(1)
	refs, err = session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return session, packp.NewAdvRefs(), nil
	}
	if err != nil {
		return session, nil, errors.Join(err, session.Close())
	}
	return session, refs, nil
}

func (l *sshLink) advertisement(ctx context.Context) (*advertisement, error) {
	session, refs, err := open(ctx, l, ssh.NewClient(nil).NewUploadPackSession)
	if err != nil {
		return nil, err
	}
	return fromAdvRefs(refs), session.Close()
}

func fromAdvRefs(refs *packp.AdvRefs) *advertisement {
	a := &advertisement{caps: map[string][]string{}}
	for _, c := range refs.Capabilities.All() {
		if a.caps[c.String()] = refs.Capabilities.Get(c); len(a.caps[c.String()]) == 0 {
			a.caps[c.String()] = []string{""}
		}
	}
	links := map[string]string{}
	for _, link := range a.caps["symref"] {
		name, target, _ := strings.Cut(link, ":")
		links[name] = target
	}
	if refs.Head != nil {
		a.refs = append(a.refs, reference{name: "HEAD", id: *refs.Head, target: links["HEAD"]})
	}
	for name, id := range refs.References {
		a.refs = append(a.refs, reference{name: name, id: id, peeled: refs.Peeled[name], target: links[name]})
	}
	return a
}

func (l *sshLink) references(ctx context.Context, _ []string) ([]reference, error) {
	a, err := l.advertisement(ctx)
	if err != nil {
		return nil, err
	}
	return a.refs, nil
}

func (l *sshLink) pack(ctx context.Context, q request, keep func(io.Reader) error) (err error) {
	session, refs, err := open(ctx, l, ssh.NewClient(nil).NewUploadPackSession)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	req := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	req.Wants, req.Haves, req.Depth, req.Filter = q.wants, q.haves, packp.DepthCommits(q.depth), packp.Filter(q.filter)
	for c, needed := range map[capability.Capability]bool{capability.Shallow: q.depth > 0, capability.Filter: q.filter != ""} {
		if needed {
			if err := req.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	res, err := session.UploadPack(ctx, req)
	if err != nil {
		return refusal(harmless(err.Error()))
	}
	defer func() { _ = res.Close() }()
	counted := &countingBody{ReadCloser: res, n: &l.count.bytes}
	if req.Capabilities.Supports(capability.Sideband64k) {
		return keep(&bandReader{p: newPktReader(counted)})
	}
	return keep(counted)
}

// push implements receiver.
func (l *sshLink) push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (report *packp.ReportStatus, output string, err error) {
	session, refs, err := open(ctx, l, ssh.NewClient(nil).NewReceivePackSession)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	req, err := request(fromAdvRefs(refs))
	if err != nil {
		return nil, "", err
	}
	printed := &prefix{max: maxPrinted}
	req.Progress = printed
	report, err = session.ReceivePack(ctx, req)
	if report != nil {
		return report, printed.String(), nil // it describes the failure
	}
	if err != nil {
		err = refusal(harmless(printed.String() + " " + err.Error()))
	}
	return nil, "", err
}
