package git

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/lockage/lockage/internal/terminal"
)

// The wire format of upload-pack: gitprotocol-common(5), gitprotocol-pack(5) for version 0, gitprotocol-v2(5).

const maxPktLine = 65520

type pktKind int

const (
	pktFlush pktKind = iota // 0000
	pktDelim                // 0001
	pktEnd                  // 0002
	pktData
)

// refusal is a server's refusal of a request, in printable words.
type refusal string

func (r refusal) Error() string { return "the server reports: " + string(r) }

// harmless makes a server's text printable.
func harmless(text string) string { return terminal.Words(text, maxMessage) }

// pktReader reads pkt-lines.
type pktReader struct {
	r   *bufio.Reader
	buf [maxPktLine]byte
}

func newPktReader(r io.Reader) *pktReader {
	return &pktReader{r: bufio.NewReaderSize(r, 32<<10)}
}

// next returns one line; its bytes are valid until the next call. A line that begins with ERR is a refusal.
func (p *pktReader) next() (pktKind, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return 0, nil, fmt.Errorf("the server's response is not git's protocol (it begins %q)", harmless(string(head[:])))
	}
	switch {
	case n < uint64(pktData):
		return pktKind(n), nil, nil
	case n < 4 || n > maxPktLine:
		return 0, nil, fmt.Errorf("the server sent a line of %d bytes", n)
	}
	line := p.buf[:n-4]
	if _, err := io.ReadFull(p.r, line); err != nil {
		return 0, nil, noEOF(err)
	}
	if text, ok := bytes.CutPrefix(line, []byte("ERR ")); ok {
		return 0, nil, refusal(harmless(string(text)))
	}
	return pktData, line, nil
}

// text is next for lines of text, without their line end.
func (p *pktReader) text() (pktKind, string, error) {
	kind, line, err := p.next()
	return kind, strings.TrimSuffix(string(line), "\n"), err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func appendPkt(buf []byte, format string, args ...any) []byte {
	line := fmt.Sprintf(format, args...)
	return fmt.Appendf(buf, "%04x%s\n", len(line)+5, line)
}

// reference is one line of a server's list.
type reference struct {
	name   string
	id     plumbing.Hash // of the object, an annotated tag included
	peeled plumbing.Hash // of the tag's target; zero for others
	target string        // of a symbolic reference
}

// advertisement is a server's first response: its capabilities.
type advertisement struct {
	version int // 0 or 2
	caps    map[string][]string
	refs    []reference // version 0 only
}

func (a *advertisement) has(capability string) bool { return len(a.caps[capability]) > 0 }

// offers reports whether fetches may use a feature: filter or shallow.
func (a *advertisement) offers(feature string) bool {
	if a.version == 2 {
		return slices.Contains(strings.Fields(strings.Join(a.caps["fetch"], " ")), feature)
	}
	return a.has(feature)
}

// givesCommits reports whether any commit that a reference reaches may be wanted.
func (a *advertisement) givesCommits() bool {
	return a.version == 2 || a.has("allow-reachable-sha1-in-want")
}

// givesObjects reports whether trees and files may be wanted by id.
func (a *advertisement) givesObjects() bool {
	return a.version == 2 || a.has("allow-reachable-sha1-in-want") && a.has("allow-tip-sha1-in-want")
}

// readAdvertisement reads the response to info/refs.
func readAdvertisement(p *pktReader) (*advertisement, error) {
	a := &advertisement{caps: map[string][]string{}}
	kind, line, err := p.text()
	if err == nil && kind == pktData && strings.HasPrefix(line, "# service=") {
		if kind, _, err = p.text(); err == nil && kind == pktFlush {
			kind, line, err = p.text()
		}
	}
	for err == nil && kind == pktData {
		switch {
		case line == "version 2":
			a.version = 2
		case line == "version 1":
		case a.version == 2:
			key, value, _ := strings.Cut(line, "=")
			a.caps[key] = append(a.caps[key], value)
		default:
			err = a.addLine(line)
		}
		if err == nil {
			kind, line, err = p.text()
		}
	}
	if err != nil {
		return nil, noEOF(err)
	}
	if format := a.caps["object-format"]; len(format) > 0 && !slices.Contains(format, "sha1") {
		return nil, fmt.Errorf("the remote repository has object format %s: only sha1 is supported", harmless(format[0]))
	}
	return a, nil
}

// addLine reads one line of version 0: an id and a name, the first one followed by the capabilities.
func (a *advertisement) addLine(line string) error {
	line, caps, _ := strings.Cut(line, "\x00")
	for _, capability := range strings.Fields(caps) {
		key, value, _ := strings.Cut(capability, "=")
		a.caps[key] = append(a.caps[key], value)
	}
	if strings.HasPrefix(line, "shallow ") {
		return nil
	}
	hash, name, ok := strings.Cut(line, " ")
	if !ok || !isID(hash) {
		return fmt.Errorf("the server's list of references holds %q", harmless(line))
	}
	if name == "capabilities^{}" {
		return nil
	}
	id := plumbing.NewHash(hash)
	if tag, ok := strings.CutSuffix(name, "^{}"); ok {
		if n := len(a.refs); n > 0 && a.refs[n-1].name == tag {
			a.refs[n-1].peeled = id
		}
		return nil
	}
	ref := reference{name: name, id: id}
	for _, link := range a.caps["symref"] {
		if from, to, _ := strings.Cut(link, ":"); from == name {
			ref.target = to
		}
	}
	a.refs = append(a.refs, ref)
	return nil
}

func isID(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 40
}

// encodeLsRefs asks for references (version 2).
func encodeLsRefs(prefixes []string) []byte {
	buf := appendPkt(nil, "command=ls-refs")
	buf = append(buf, "0001"...)
	buf = appendPkt(buf, "peel")
	buf = appendPkt(buf, "symrefs")
	for _, prefix := range prefixes {
		buf = appendPkt(buf, "ref-prefix %s", prefix)
	}
	return append(buf, "0000"...)
}

func readLsRefs(r io.Reader) ([]reference, error) {
	p := newPktReader(r)
	var refs []reference
	for {
		kind, line, err := p.text()
		if err != nil {
			return nil, noEOF(err)
		}
		if kind != pktData {
			return refs, nil
		}
		fields := strings.Split(line, " ")
		if len(fields) < 2 || !isID(fields[0]) {
			if len(fields) > 1 && fields[0] == "unborn" {
				continue
			}
			return nil, fmt.Errorf("the server's list of references holds %q", harmless(line))
		}
		ref := reference{name: fields[1], id: plumbing.NewHash(fields[0])}
		for _, attribute := range fields[2:] {
			if target, ok := strings.CutPrefix(attribute, "symref-target:"); ok {
				ref.target = target
			}
			if peeled, ok := strings.CutPrefix(attribute, "peeled:"); ok && isID(peeled) {
				ref.peeled = plumbing.NewHash(peeled)
			}
		}
		refs = append(refs, ref)
	}
}

// request asks for a pack.
type request struct {
	wants, haves []plumbing.Hash
	depth        int    // generations of commits; 0 for all
	filter       string // as git rev-list --filter takes it; "" for none
}

// encode writes the request as one message of a's version: histories that we have are complete, nothing is negotiated.
func (q request) encode(a *advertisement) []byte {
	var buf []byte
	caps := ""
	if a.version == 2 {
		buf = appendPkt(buf, "command=fetch")
		if a.has("object-format") {
			buf = appendPkt(buf, "object-format=sha1")
		}
		buf = append(buf, "0001"...)
		buf = appendPkt(buf, "ofs-delta")
		buf = appendPkt(buf, "no-progress")
	} else {
		if !a.has("multi_ack_detailed") && a.has("multi_ack") {
			caps = " multi_ack" // Azure DevOps serves no client that has neither
		}
		for _, c := range []string{"multi_ack_detailed", "side-band-64k", "ofs-delta", "no-progress"} {
			if a.has(c) {
				caps += " " + c
			}
		}
		if q.filter != "" {
			caps += " filter"
		}
		if q.depth > 0 {
			caps += " shallow"
		}
	}
	for _, id := range q.wants {
		buf = appendPkt(buf, "want %s%s", id, caps)
		caps = ""
	}
	if q.depth > 0 {
		buf = appendPkt(buf, "deepen %d", q.depth)
	}
	if q.filter != "" {
		buf = appendPkt(buf, "filter %s", q.filter)
	}
	if a.version != 2 {
		buf = append(buf, "0000"...)
	}
	for _, id := range q.haves {
		buf = appendPkt(buf, "have %s", id)
	}
	buf = appendPkt(buf, "done")
	if a.version == 2 {
		buf = append(buf, "0000"...)
	}
	return buf
}

// openPack reads a response up to its pack, and returns a reader of the pack.
func openPack(r io.Reader, q request, a *advertisement) (io.Reader, error) {
	p := newPktReader(r)
	if a.version == 2 {
		return openPackV2(p)
	}
	if q.depth > 0 {
		for kind := pktData; kind == pktData; { // shallow and unshallow lines
			var err error
			if kind, _, err = p.next(); err != nil {
				return nil, noEOF(err)
			}
		}
	}
	// Acknowledgements follow, then the pack, in the same framing if the server multiplexes.
	for {
		head, err := p.r.Peek(8)
		if err != nil {
			return nil, noEOF(err)
		}
		if !bytes.HasPrefix(head[4:], []byte("ACK")) && !bytes.HasPrefix(head[4:], []byte("NAK")) && !bytes.HasPrefix(head[4:], []byte("ERR")) {
			break
		}
		if _, _, err := p.next(); err != nil {
			return nil, noEOF(err)
		}
	}
	if !a.has("side-band-64k") {
		return p.r, nil
	}
	return &bandReader{p: p}, nil
}

func openPackV2(p *pktReader) (io.Reader, error) {
	for {
		kind, line, err := p.text()
		if err != nil {
			return nil, noEOF(err)
		}
		if kind == pktData && line == "packfile" {
			return &bandReader{p: p}, nil
		}
		if kind == pktFlush || kind == pktEnd {
			return nil, errors.New("the server's response has no pack")
		}
	}
}

// bandReader reads the first band of a multiplexed response: the pack.
type bandReader struct {
	p        *pktReader
	progress io.Writer // receives the second band; nil drops it
	rest     []byte
	done     bool
}

func (b *bandReader) Read(out []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.done {
			return 0, io.EOF
		}
		kind, line, err := b.p.next()
		switch {
		case err != nil:
			return 0, noEOF(err)
		case kind != pktData:
			b.done = true
		case len(line) == 0:
		case line[0] == 1:
			b.rest = line[1:]
		case line[0] == 2:
			if b.progress != nil {
				_, _ = b.progress.Write(line[1:]) // progress messages
			}
		case line[0] == 3:
			return 0, refusal(harmless(string(line[1:])))
		default:
			return 0, fmt.Errorf("the server sent band %d", line[0])
		}
	}
	n := copy(out, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
