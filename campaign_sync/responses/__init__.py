"""The way of opens, clicks and other responses into files that anybody can analyse, and into the CRM."""
