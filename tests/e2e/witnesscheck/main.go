// Asks a node for its cosignature as logs ask their witnesses, by a client that nobody of this project wrote, and opens what it
// answers, or a note at hand, by verifiers that nobody here wrote either.
//
//	witnesscheck ask URL CERTIFICATE.pem SERVER_NAME NOTE VKEY      add-checkpoint of NOTE's checkpoint, from nothing
//	witnesscheck open NOTE VKEY                                     a line by VKEY, Ed25519 or ML-DSA-44
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	f_note "github.com/transparency-dev/formats/note"
	w_http "github.com/transparency-dev/witness/client/http"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 6 && args[0] == "ask":
		return ask(args[1], args[2], args[3], args[4], args[5])
	case len(args) == 3 && args[0] == "open":
		data, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		return open(data, args[2])
	}
	return fmt.Errorf("want ask or open, got %q", args)
}

func ask(address, certificate, name, path, vkey string) error {
	pem, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}}
	base, err := url.Parse(address)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines, size, err := w_http.NewWitness(base, client).Update(context.Background(), 0, data, nil)
	if err != nil {
		return fmt.Errorf("%w (the witness has %d)", err, size)
	}
	text, _, _ := strings.Cut(string(data), "\n\n")
	return open([]byte(text+"\n\n"+string(lines)), vkey)
}

func open(data []byte, vkey string) error {
	verifier, err := f_note.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	for _, line := range opened.Sigs {
		at, err := f_note.CoSigV1Timestamp(line)
		if err != nil {
			return err
		}
		fmt.Printf("cosigned by %s at %d\n", line.Name, at.Unix())
	}
	return nil
}
