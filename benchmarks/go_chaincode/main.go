// The measure that befl's shim is held against: the smallest chaincode on Fabric's own Go shim, as a service.
//
// Its twin in Python is ../python_chaincode.py; both take the same configuration file.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

type store struct{}

func (store) Init(shim.ChaincodeStubInterface) *peer.Response {
	return shim.Success(nil)
}

func (store) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, arguments := stub.GetFunctionAndParameters()
	switch function {
	case "put":
		if err := stub.PutState(arguments[0], []byte(arguments[1])); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(nil)
	case "get":
		value, err := stub.GetState(arguments[0])
		if err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(value)
	}
	return shim.Error("no such function: " + function)
}

type config struct {
	ChaincodeID string `json:"chaincode_id"`
	Address     string `json:"address"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	ClientCA    string `json:"client_ca"`
}

func run(path string) error {
	var given config
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &given); err != nil {
		return err
	}
	tls := shim.TLSProperties{}
	for file, into := range map[string]*[]byte{
		given.Certificate: &tls.Cert, given.Key: &tls.Key, given.ClientCA: &tls.ClientCACerts,
	} {
		if *into, err = os.ReadFile(file); err != nil {
			return err
		}
	}
	server := &shim.ChaincodeServer{CCID: given.ChaincodeID, Address: given.Address, CC: store{}, TLSProps: tls}
	return server.Start()
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
