package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// browser is a Chromium with one page, driven by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol)
// over a pair of pipes: JSON messages that end in a zero byte.
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	log     *bytes.Buffer
	session string
	last    int
	events  []message
}

// message is what Chromium sends: an answer with the id of its command, or an event.
type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startChromium runs the browser with a profile of its own. It is killed at the end of the test.
func startChromium(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("LOCKAGE_E2E=1, but there is no Chromium: apt-get install chromium")
	}
	commandsOut, commandsIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answersOut, answersIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, in: commandsIn, out: bufio.NewReader(answersOut), log: &bytes.Buffer{}}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{commandsOut, answersIn} // descriptors 3 and 4, by the flag's definition
	cmd.Stdout, cmd.Stderr = b.log, b.log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = commandsOut.Close(), answersIn.Close()
	t.Cleanup(func() {
		_ = commandsIn.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = answersOut.Close()
		// Its children end a moment later, and may still write.
		for range 20 {
			if os.RemoveAll(profile) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call sends a command and decodes its answer. Events that come before are kept.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	command := map[string]any{"id": b.last, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	data, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		b.t.Fatalf("%s: %v\n%s", method, err, b.log)
	}
	for {
		m := b.next(method)
		switch {
		case m.ID != b.last:
			b.events = append(b.events, m)
			continue
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v in %s", method, err, m.Result)
			}
		}
		return
	}
}

func (b *browser) next(waiting string) message {
	b.t.Helper()
	data, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("%s: Chromium says nothing more: %v\n%s", waiting, err, b.log)
	}
	var m message
	if err := json.Unmarshal(bytes.TrimSuffix(data, []byte{0}), &m); err != nil {
		b.t.Fatal(err)
	}
	return m
}

// open loads a file and waits until it is there.
func (b *browser) open(file string) {
	b.t.Helper()
	b.events = nil
	var navigated struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": "file://" + file}, &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("%s: %s", file, navigated.ErrorText)
	}
	loaded := func(m message) bool { return m.Method == "Page.loadEventFired" }
	for !slices.ContainsFunc(b.events, loaded) {
		b.events = append(b.events, b.next("Page.navigate"))
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	var answer struct {
		Result struct {
			Value T `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails.Text)
	}
	return answer.Result.Value
}

// click presses the mouse on the middle of an element, where a person would.
func (b *browser) click(selector string) {
	b.t.Helper()
	at := eval[[]float64](b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: "center"});
		const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`, selector))
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// typeText writes into the element that has the focus.
func (b *browser) typeText(text string) {
	b.t.Helper()
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// key presses a key.
func (b *browser) key(name string) {
	b.t.Helper()
	down := map[string]any{"type": "keyDown", "key": name}
	if len(name) == 1 {
		down["text"] = name
	}
	b.call("Input.dispatchKeyEvent", down, nil)
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name}, nil)
}

// resize shows the page at a width, in pixels, and in a colour scheme: light or dark.
func (b *browser) resize(width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	}, nil)
}

// screenshot writes a picture for a person to look at beside $LOCKAGE_SCREENSHOT, a file that ends in .png, and does nothing
// where that is not set. The name goes before the ending.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	file := os.Getenv("LOCKAGE_SCREENSHOT")
	if file == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	write(b.t, strings.TrimSuffix(file, filepath.Ext(file))+"-"+name+".png", string(picture))
}

// requests lists what the page asked for since it was opened, itself aside.
func (b *browser) requests() []string {
	var urls []string
	for _, m := range b.events {
		if m.Method != "Network.requestWillBeSent" {
			continue
		}
		var sent struct {
			Type    string
			Request struct{ URL string }
		}
		if err := json.Unmarshal(m.Params, &sent); err != nil {
			b.t.Fatal(err)
		}
		if sent.Type != "Document" {
			urls = append(urls, sent.Request.URL)
		}
	}
	return urls
}

// complaints lists exceptions, dialogs, and what the browser logged: of a violated policy, say.
func (b *browser) complaints() []string {
	var list []string
	for _, m := range b.events {
		switch m.Method {
		case "Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
			list = append(list, m.Method+" "+string(m.Params))
		}
	}
	return list
}
