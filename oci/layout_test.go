package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func dirFS(dir string) fs.FS { return os.DirFS(dir) }

func writeFile(t testing.TB, name, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	writerName = "LOCKAGE_TEST_LAYOUT"
	writerID   = "LOCKAGE_TEST_WRITER"
	tagsEach   = 20
)

// TestLayoutWriter is what the processes of TestLayoutOfSeveralProcesses run.
func TestLayoutWriter(t *testing.T) {
	name := os.Getenv(writerName)
	if name == "" {
		t.Skip("run by TestLayoutOfSeveralProcesses")
	}
	r := open(t, name, Options{})
	a := mustPack(t, sample(), nil)
	push(t, r, a)
	for i := range tagsEach {
		if err := r.Tag(t.Context(), a.Descriptor, fmt.Sprintf("w%s.%d", os.Getenv(writerID), i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Attach(t.Context(), a.Descriptor, proof(os.Getenv(writerID))); err != nil {
		t.Fatal(err)
	}
}

// TestLayoutOfSeveralProcesses lets processes write one layout at once, and reads it
// meanwhile: no write is lost, no read sees half a file.
func TestLayoutOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	const writers = 4
	name := layoutPrefix + filepath.Join(t.TempDir(), "layout")
	var running []*exec.Cmd
	for i := range writers {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLayoutWriter$")
		cmd.Env = append(os.Environ(), writerName+"="+name, fmt.Sprintf("%s=%d", writerID, i))
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	r := open(t, name, Options{})
	done := make(chan struct{})
	reads := make(chan error, 1)
	go func() {
		defer close(reads)
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := r.Tags(context.Background(), ""); err != nil {
				reads <- err
				return
			}
		}
	}()
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	if err := <-reads; err != nil {
		t.Error(err)
	}
	tags, err := r.Tags(t.Context(), "w")
	if err != nil || len(tags) != writers*tagsEach {
		t.Errorf("%d tags of %d, %v", len(tags), writers*tagsEach, err)
	}
	found, err := r.Referrers(t.Context(), mustPack(t, sample(), nil).Descriptor, testType)
	if err != nil || len(found) != writers {
		t.Errorf("%d referrers of %d, %v", len(found), writers, err)
	}
}

// TestLayoutLockedByAnother holds the lock, and finds that waiting ends with the context.
func TestLayoutLockedByAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "oci-layout")
	writeFile(t, name, `{"imageLayoutVersion":"1.0.0"}`)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := lockFile(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := open(t, layoutPrefix+dir, Options{})
	a := mustPack(t, sample(), nil)
	if err := r.PushArtifact(ctx, a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	push(t, r, a)
}
