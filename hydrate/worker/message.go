package worker

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/memfs"
)

// message is what the two processes send each other. Exactly one field is set.
type message struct {
	// From the parent.
	Request *job
	Answer  *answer

	// From the child.
	Progress string // what is rendered next
	Log      string
	Ask      *ask
	Exceeded bound     // the last message
	Manifest *manifest // of the reply that follows
	Reply    *reply
}

// job is the render of a package; of one that overlays, the first of them opens and builds it.
type job struct {
	Kind    string         // of the renderer
	Package uint64         // the child keeps it by this number
	Source  hydrate.Source // Files and GitOps are trees of the parent
	Trees   [2]ability     // of Files and GitOps
	Drop    []uint64       // packages that are not asked for again
	Request hydrate.Request
	Bounds  Bounds
}

// manifest is one of a reply. They go one by one: an encoder keeps a buffer for the largest message that it sent.
type manifest struct {
	hydrate.Manifest
	Number int // see shorten
}

// reply is what a package rendered to.
type reply struct {
	Inputs   []hydrate.Input // of a package that overlays
	Rendered hydrate.Rendered
	Fault    *fault
}

// messages takes the manifests out of a reply, each into a message before it. s is what the parent has of the package.
func (r reply) messages(s *sent) (messages []message) {
	for _, m := range r.Rendered.Manifests {
		messages = append(messages, message{Manifest: s.shorten(m)})
	}
	r.Rendered.Manifests = nil
	return append(messages, message{Reply: &r})
}

// ask is a question of the child to the parent.
type ask struct {
	Operation operation
	Tree      int // a file system of the request, or one that sub returned
	Name      string
	Names     []string // of prefetch

	Repository, Chart, Version string // of archive
}

type operation string

const (
	opOpen     operation = "open"
	opStat     operation = "stat"
	opLstat    operation = "lstat"
	opReadLink operation = "readlink"
	opRealPath operation = "realpath"
	opSub      operation = "sub"
	opPrefetch operation = "prefetch"
	opArchive  operation = "archive"
)

// answer has what the operation returns.
type answer struct {
	Info    memfs.Info
	Entries []memfs.Info // of a folder
	Data    []byte
	Path    string
	Tree    int
	Ability ability
	Fault   *fault
}

// maxMessage bounds a message, in bytes. The largest are values files, and manifests with the bound of [Bounds].
const maxMessage = 128 << 20

// errMessage is returned for a message above its limit.
var errMessage = errors.New("a message between the processes is larger than its limit")

// link is one end of the connection between parent and child. One goroutine receives, any send one after the other.
type link struct {
	out     *bufio.Writer
	encoder *gob.Encoder
	in      *limited
	decoder *gob.Decoder
}

func newLink(in io.Reader, out io.Writer) *link {
	l := &link{out: bufio.NewWriterSize(out, 64<<10), in: &limited{Reader: bufio.NewReaderSize(in, 64<<10)}}
	l.encoder, l.decoder = gob.NewEncoder(limitedWriter{l.out}), gob.NewDecoder(l.in)
	return l
}

func (l *link) send(messages ...message) error {
	for _, m := range messages {
		if err := l.encoder.Encode(m); err != nil {
			return err
		}
	}
	return l.out.Flush()
}

// receive reads the next message. The sender may be broken: the message is bounded, and anything else is an error.
func (l *link) receive() (m message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not a message: %v", r)
		}
	}()
	l.in.left = maxMessage
	return m, l.decoder.Decode(&m)
}

// limited reads at most so many bytes.
type limited struct {
	*bufio.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errMessage
	}
	n, err := l.Reader.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

func (l *limited) ReadByte() (byte, error) {
	if l.left--; l.left < 0 {
		return 0, errMessage
	}
	return l.Reader.ReadByte()
}

// limitedWriter refuses what the other end would refuse: gob writes each value at once.
type limitedWriter struct{ io.Writer }

func (w limitedWriter) Write(p []byte) (int, error) {
	if len(p) > maxMessage {
		return 0, fmt.Errorf("%w of %d bytes", errMessage, maxMessage)
	}
	return w.Writer.Write(p)
}
