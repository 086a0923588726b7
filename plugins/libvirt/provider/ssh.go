package provider

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
)

// hostAlias is the name under which the one host key that is accepted stands in a file of its own.
const hostAlias = "understudy-host"

// through calls connect with an address of libvirt that upstream can dial by itself: the same one, or, for a host that
// is reached over SSH, a socket that leads there through the user's own ssh, for one connection, and returns that way,
// else nil. Upstream's own SSH client tries one key alone, does not become root, and takes a config file without a User line for a nameless user.
//
// model/host_uri.py writes these addresses: qemu+ssh://USER@HOST:PORT/system?as=NAME&key=HOSTKEY&jump=JUMP&sudo=yes
func through(address string, connect func(near string) error) (*way, error) {
	host, err := url.Parse(address)
	if err != nil || host.Scheme != "qemu+ssh" {
		return nil, connect(address)
	}
	place, err := os.MkdirTemp("", "understudy-libvirt-") // its mode is 0700: the socket is this user's alone
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(place)
	socket, known := filepath.Join(place, "socket"), filepath.Join(place, "known_hosts")
	if err := os.WriteFile(known, []byte(hostAlias+" "+host.Query().Get("key")+"\n"), 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	way := &way{host: host.Query().Get("as"), argv: command(host, known)}
	go way.lead(listener)
	if err := connect("qemu+unix:///system?socket=" + url.QueryEscape(socket)); err != nil {
		return nil, fmt.Errorf("host %s: its libvirt is not reached over SSH (%s: %w)%s", way.host, way.words(), err,
			way.again())
	}
	return way, nil
}

// command returns the line that reaches libvirt on a host: with the host key that is known, or else the user's own.
func command(host *url.URL, known string) []string {
	options := []string{"BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no", "ConnectTimeout=15",
		"ServerAliveInterval=15", "ServerAliveCountMax=3"}
	given := host.Query()
	if given.Get("key") != "" {
		options = append(options, "HostKeyAlias="+hostAlias, "UserKnownHostsFile="+known, "GlobalKnownHostsFile=/dev/null",
			"UpdateHostKeys=no")
	}
	argv := append([]string{"ssh", "-T"}, ofOtherHome(given.Get("key") != "")...)
	for _, option := range options {
		argv = append(argv, "-o", option)
	}
	if given.Get("jump") != "" {
		argv = append(argv, "-J", given.Get("jump"))
	}
	if port := host.Port(); port != "" && port != "22" { // else what the user's own config says
		argv = append(argv, "-p", port)
	}
	argv = append(argv, "-l", host.User.Username(), "--", host.Hostname())
	if given.Get("sudo") != "" {
		argv = append(argv, "sudo", "-n", "--")
	}
	return append(argv, "virt-ssh-helper", "qemu:///system")
}

// ofOtherHome returns ssh's options for the keys of $HOME where that is not the user's own: ssh itself looks only there.
func ofOtherHome(keyKnown bool) []string {
	home, here := os.Getenv("HOME"), func(path string) bool { _, err := os.Stat(path); return err == nil }
	if own, err := user.Current(); err != nil || home == "" || own.HomeDir == home {
		return nil
	}
	var options []string
	if config := filepath.Join(home, ".ssh", "config"); here(config) {
		options = append(options, "-F", config)
	}
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		if key := filepath.Join(home, ".ssh", "id_"+kind); here(key) {
			options = append(options, "-i", key)
		}
	}
	if known := filepath.Join(home, ".ssh", "known_hosts"); !keyKnown && here(known) {
		options = append(options, "-o", "UserKnownHostsFile="+known)
	}
	return options
}

// way is one run of ssh, which host it leads to, and what it said.
type way struct {
	host  string
	argv  []string
	guard sync.Mutex
	said  string
}

// lead takes one connection and hands on what comes, in both directions. With this process ssh ends, too: its input does.
func (w *way) lead(listener net.Listener) {
	near, err := listener.Accept()
	if err != nil {
		return
	}
	defer near.Close()
	var errors bytes.Buffer
	ssh := exec.Command(w.argv[0], w.argv[1:]...)
	ssh.Stdout, ssh.Stderr = near, &errors
	in, err := ssh.StdinPipe()
	if err == nil {
		err = ssh.Start()
	}
	if err != nil {
		w.note(err.Error())
		return
	}
	go func() {
		_, _ = io.Copy(in, near)
		in.Close()
	}()
	if err := ssh.Wait(); err != nil {
		w.note(errors.String())
	}
}

// ended ends each error of a client whose way has ended: its daemon went away, or its host, or what is between.
func (w *way) ended() string {
	why := ""
	if words := w.words(); words != "" {
		why = " (" + words + ")"
	}
	return "; host " + w.host + ": its libvirt, or the way there, went away in the middle" + why + w.again()
}

// again says what to do.
func (w *way) again() string {
	return ": run it again. Where it is gone for good: ./run understudy host lost " + w.host + " -s STACK"
}

func (w *way) note(text string) {
	w.guard.Lock()
	defer w.guard.Unlock()
	w.said = strings.Join(strings.Fields(text), " ")
}

func (w *way) words() string {
	w.guard.Lock()
	defer w.guard.Unlock()
	return w.said
}
